"""Random changes of a table of orders, and the Debezium message of every change."""

from __future__ import annotations

import datetime
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import count
from random import Random
from typing import Any, NamedTuple

import msgspec
import psycopg

from engine.partitions import PartitionSpace
from tests.support.shop import REGIONAL

SPACE = PartitionSpace.from_spec(REGIONAL)
_EPOCH = datetime.date(1970, 1, 1)
_FIRST_DAY = (datetime.date(2026, 1, 1) - _EPOCH).days
_DAYS = 31
_REGIONS = ("north", "south")
_UPSERT = """
INSERT INTO orders (id, day, region, amount, notes)
SELECT id, date '1970-01-01' + day, region, amount, notes
FROM jsonb_to_recordset(%s) AS r(id bigint, day int, region text, amount int, notes text)
ON CONFLICT (id) DO UPDATE SET (day, region, amount, notes) =
    (EXCLUDED.day, EXCLUDED.region, EXCLUDED.amount, EXCLUDED.notes)
"""
Row = dict[str, Any]


class Scope(NamedTuple):
    """Partitions made stale by a message, with the affected `columns`; None: any column."""

    partitions: frozenset[str]
    columns: frozenset[str] | None
    reason: str


class Message(NamedTuple):
    """A message with its expected effect: a scope, nothing (None), or a dead letter."""

    key: bytes
    value: bytes | None
    scope: Scope | None
    is_poison: bool = False


@dataclass
class Workload:
    """Changes rows in memory and returns the messages; `save` writes the rows to the table."""

    rng: Random
    max_rows: int = 500
    rows: dict[int, Row] = field(default_factory=dict)
    _present: list[int] = field(default_factory=list)
    _dirty: set[int] = field(default_factory=set)
    _ids: Iterator[int] = field(default_factory=lambda: count(1000))
    _lsn: Iterator[int] = field(default_factory=lambda: count(25_360_136, 144))

    def change(self, changes: int) -> list[Message]:
        """Make this number of changes, each with its message; a deletion also has a tombstone."""
        return [message for _ in range(changes) for message in self._change()]

    def save(self, conn: psycopg.Connection[Any]) -> None:
        """Write the changed rows to the table. Idempotent."""
        present = [self.rows[key] for key in self._dirty if key in self.rows]
        deleted = [key for key in self._dirty if key not in self.rows]
        with conn.transaction():
            conn.execute(_UPSERT, [psycopg.types.json.Jsonb(present)])
            conn.execute("DELETE FROM orders WHERE id = ANY(%s)", [deleted])
        self._dirty.clear()

    def _change(self) -> list[Message]:
        if len(self.rows) < self.max_rows // 2 or (
            len(self.rows) < self.max_rows and self._chance(0.2)
        ):
            return [self._insert()]
        index = self.rng.randrange(len(self._present))
        before = self.rows[self._present[index]]
        if self._chance(0.05):
            self._present[index] = self._present[-1]
            self._present.pop()
            return self._delete(before)
        return [self._update(before)]

    def _insert(self) -> Message:
        self._present.append(next(self._ids))
        row = {
            "id": self._present[-1],
            **self._random_partition(),
            "amount": self._random_number(),
            "notes": None,
        }
        return self._message("c", None, row, Scope(_keys(row), None, "arrival"))

    def _update(self, before: Row) -> Message:
        after = before | self._edit()
        changed = frozenset(name for name in after if after[name] != before[name])
        if not changed:
            return self._message("u", before, after, None)
        moved = changed & {"day", "region"}
        columns = None if moved else changed
        return self._message("u", before, after, Scope(_keys(before, after), columns, "change"))

    def _edit(self) -> Row:
        match self.rng.randrange(5):
            case 0:
                return self._random_partition()
            case 1:
                return {"notes": f"note {self._random_number()}"}
            case 2:
                return {}
        return {"amount": self._random_number()}

    def _delete(self, before: Row) -> list[Message]:
        deletion = self._message("d", before, None, Scope(_keys(before), None, "change"))
        return [deletion, Message(deletion.key, None, None)]

    def _message(
        self, op: str, before: Row | None, after: Row | None, scope: Scope | None
    ) -> Message:
        row = after or before or {}
        self._dirty.add(row["id"])
        self.rows.pop(row["id"], None)
        if after is not None:
            self.rows[row["id"]] = after
        value = {"before": before, "after": after, "source": self._source(), "op": op}
        key = msgspec.json.encode({"id": row["id"]})
        return Message(key, msgspec.json.encode(value | {"ts_ms": 1795419008043}), scope)

    def _source(self) -> dict[str, Any]:
        lsn = next(self._lsn)
        return {
            "version": "3.6.3.Final",
            "connector": "postgresql",
            "name": "shop",
            "ts_ms": 1795419007603,
            "snapshot": "false",
            "db": "postgres",
            "sequence": f'["{lsn}","{lsn}"]',
            "schema": "public",
            "table": "orders",
            "txId": lsn // 144,
            "lsn": lsn,
            "xmin": None,
        }

    def _random_partition(self) -> Row:
        day = _FIRST_DAY + self.rng.randrange(_DAYS)
        return {"day": day, "region": self.rng.choice(_REGIONS)}

    def _random_number(self) -> int:
        return self.rng.randrange(1, 100)

    def _chance(self, probability: float) -> bool:
        return self.rng.random() < probability


def _keys(*rows: Row) -> frozenset[str]:
    return frozenset(f"dt={_date(row['day'])}/region={row['region']}" for row in rows)


def _date(days: int) -> str:
    return (_EPOCH + datetime.timedelta(days=days)).isoformat()


def poison(rng: Random) -> list[Message]:
    """Invalid change events: random bytes, broken or unrelated JSON, and 10 MB of filler."""
    values = [
        rng.randbytes(100),
        b"",
        b"{",
        b'{"op": "x", "before": null, "after": {"id": 1}}',
        b'{"op": "u", "before": null, "after": null}',
        b'{"dataset": "orders"}',
        b"[" * 100_000,
        b'"' + b"x" * 10_000_000 + b'"',
    ]
    return [Message(b"poison", value, None, is_poison=True) for value in values]
