"""From bytes to coalesced facts, beside the least that anybody has to do with them."""

from collections.abc import AsyncIterator, Callable, Sequence
from functools import partial
from time import perf_counter

import msgspec
from aiokafka import ConsumerRecord, TopicPartition

from consumers.formats.knockon import read_events
from consumers.formats.reading import Reader
from consumers.kafka.batches import Fetched, batch_of
from engine.flow.coalesce import Fact, coalesce
from engine.flow.resolve import by_scope, resolve
from engine.lineage.graph import Lineage
from tests.benchmarks.figure import Figure, Peer
from tests.benchmarks.server import Server
from tests.benchmarks.worlds import star
from tests.support.bindings import bound

_EVENTS = 10_000
_TIMES = 7
_PARTITION = TopicPartition("t", 0)


async def figures(server: Server) -> AsyncIterator[Figure]:
    """10,000 events over forty scopes of one source: rates, and a bare decoding of the bytes."""
    world = star(10)
    name, lineage = world.datasets[0].name, world.lineage()
    debezium = bound(
        "debezium",
        known=("id", "ordered_at", "status", "amount", "notes"),
        partition={"dt": {"field": "ordered_at", "unit": "micros"}},
        partitioning={"dt": {"time": "day"}},
        dataset=name,
    )
    for title, reader, make in (
        ("Knockon events", Reader(read_events, is_bounded=True), _knockon),
        ("Debezium updates", Reader(debezium, is_bounded=True), _debezium),
    ):
        values = [make(name, n) for n in range(_EVENTS)]
        records = [_record(n, value) for n, value in enumerate(values)]
        ours, bare = _rates(partial(_facts, lineage, reader, records), partial(_decoded, values))
        yield Figure(f"{title}: bytes to facts", ours, "/s", peer=Peer("bare msgspec decode", bare))


def _rates(*works: Callable[[], object]) -> list[list[float]]:
    """The rates of each, measured in turns, so that all of them meet the same neighbours."""
    turns = [[_rate(work) for work in works] for _ in range(_TIMES)]
    return [list(rates) for rates in zip(*turns, strict=True)]


def _decoded(values: Sequence[bytes]) -> list[object]:
    return [msgspec.json.decode(each) for each in values]


def _rate(work: Callable[[], object]) -> float:
    start = perf_counter()
    work()
    return _EVENTS / (perf_counter() - start)


def _facts(lineage: Lineage, reader: Reader, records: Sequence[ConsumerRecord]) -> list[Fact]:
    fetched = Fetched({_PARTITION: records}, {})
    received = batch_of("bench", fetched, {}, {_PARTITION.topic: reader}).received
    facts = coalesce([resolve(lineage, *alike) for alike in by_scope(received)])
    assert sum(fact.events for fact in facts) == _EVENTS
    return facts


def _record(offset: int, value: bytes) -> ConsumerRecord:
    return ConsumerRecord(*_PARTITION, offset, 0, 0, None, value, None, -1, len(value), ())


def _knockon(dataset: str, n: int) -> bytes:
    return msgspec.json.encode(
        {
            "dataset": dataset,
            "partitions": [f"2013-02-{1 + n % 20:02}"],
            "columns": [("amount", "notes")[n // 20 % 2]],
            "reason": "correction",
            "id": f"reload-{n}",
        }
    )


def _debezium(dataset: str, n: int) -> bytes:
    column = ("amount", "notes")[n // 20 % 2]
    at = 1359676800_000_000 + n % 20 * 86_400_000_000 + n * 7_919_000
    before = {"id": n, "ordered_at": at, "status": "open", "amount": "AfQ=", "notes": "a"}
    source = {
        "version": "3.6.3.Final",
        "connector": "postgresql",
        "name": "shop",
        "ts_ms": 1795418277653,
        "snapshot": "false",
        "db": "shop",
        "sequence": '["24620392","24620536"]',
        "ts_us": 1795418277653170,
        "ts_ns": 1795418277653170000,
        "schema": "public",
        "table": "orders",
        "txId": 777,
        "lsn": 24620536,
        "xmin": None,
    }
    message = {
        "before": before,
        "after": before | {column: f"{n}"},
        "source": source,
        "transaction": None,
        "op": "u",
        "ts_ms": 1795418278045,
        "ts_us": 1795418278045123,
        "ts_ns": 1795418278045123456,
    }
    return msgspec.json.encode(message)
