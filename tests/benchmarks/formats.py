"""From bytes to coalesced invalidations, beside bare decoding."""

from collections.abc import AsyncIterator, Callable, Sequence
from functools import partial
from time import perf_counter

from aiokafka import ConsumerRecord, TopicPartition

from consumers.formats.reading import Reader
from consumers.kafka.batches import Fetched, batch_of
from engine.flow.ingestion.coalesce import CoalescedInvalidation, coalesce
from engine.flow.ingestion.resolve import by_scope, resolve
from engine.lineage.graph import Lineage
from tests.benchmarks.figure import Figure, Peer
from tests.benchmarks.messages import Kind, kinds
from tests.benchmarks.server import Server
from tests.benchmarks.worlds import star

_EVENTS = 10_000
_TIMES = 7
_PARTITION = TopicPartition("t", 0)


async def figures(server: Server) -> AsyncIterator[Figure]:
    """10,000 events over forty scopes of one source: rates, and bare decoding of the bytes."""
    world = star(10)
    dataset, lineage = world.datasets[0].name, world.lineage()
    for kind in kinds(dataset):
        ours, bare = [], []
        for turn in range(_TIMES):  # new messages each turn, because formats cache results
            numbers = range(turn * _EVENTS, (turn + 1) * _EVENTS)
            values = [kind.message(dataset, n) for n in numbers]
            records = [_record(n, value) for n, value in enumerate(values)]
            bare.append(_rate(partial(_decoded, kind, values)))
            ours.append(_rate(partial(_invalidations, lineage, kind.reader, records)))
        peer = Peer("bare msgspec decode", bare)
        yield Figure(f"{kind.name}: bytes to invalidations", ours, "/s", peer=peer)


def _decoded(kind: Kind, values: Sequence[bytes]) -> list[object]:
    return [kind.decode(each) for each in values]


def _rate(work: Callable[[], object]) -> float:
    start = perf_counter()
    work()
    return _EVENTS / (perf_counter() - start)


def _invalidations(
    lineage: Lineage, reader: Reader, records: Sequence[ConsumerRecord]
) -> list[CoalescedInvalidation]:
    fetched = Fetched({_PARTITION: records}, {}, {})
    received = batch_of("bench", fetched, {_PARTITION.topic: reader}).received
    invalidations = coalesce([resolve(lineage, *alike) for alike in by_scope(received)])
    assert sum(invalidation.events for invalidation in invalidations) == _EVENTS
    return invalidations


def _record(offset: int, value: bytes) -> ConsumerRecord:
    return ConsumerRecord(*_PARTITION, offset, 0, 0, None, value, None, -1, len(value), ())
