"""Contents of topics: messages over forty scopes of one source, with their decoders."""

from collections.abc import Callable
from dataclasses import dataclass

import msgspec

from consumers.formats.knockon import read_events
from consumers.formats.reading import Reader
from engine.model.event import SourceEvent
from tests.support.bindings import bound


@dataclass(frozen=True, slots=True)
class Kind:
    """``decode`` is the minimal work for a message."""

    name: str
    message: Callable[[str, int], bytes]
    reader: Reader
    decode: Callable[[bytes], object]


def kinds(dataset: str) -> tuple[Kind, ...]:
    """Knockon's own events, decoded to structs, and Debezium's, decoded to dicts."""
    debezium = bound(
        "debezium",
        known=("id", "ordered_at", "status", "amount", "notes"),
        partition={"dt": {"field": "ordered_at", "unit": "micros"}},
        partitioning={"dt": {"time": "day"}},
        dataset=dataset,
    )
    typed = msgspec.json.Decoder(SourceEvent).decode
    return (
        Kind("Knockon events", _knockon, Reader(read_events, is_bounded=True), typed),
        Kind("Debezium updates", _debezium, Reader(debezium, is_bounded=True), msgspec.json.decode),
    )


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
