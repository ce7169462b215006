"""The attachments recorded in a source database, and the drift of their tables."""

from collections.abc import Sequence, Set
from dataclasses import dataclass
from typing import Any

import msgspec
from psycopg import AsyncConnection
from psycopg.rows import class_row, scalar_row

from consumers.postgres.statements import statement
from consumers.postgres.triggers import trigger_names
from engine.partitions.space import PartitionSpace


class Shape(msgspec.Struct, frozen=True):
    """The properties of a table that capture depends on; see `attachments.shape`."""

    columns: dict[str, tuple[Any, ...]] | None
    key: str | None
    parts: tuple[str, ...]
    triggers: dict[str, tuple[Any, ...]] | None
    can_log: bool | None


@dataclass(frozen=True)
class Stored:
    """A recorded attachment; `named` is the relation that currently has the table's name."""

    org: str
    dataset: str
    relation: int
    schema_name: str
    table_name: str
    partitioning: str
    columns: str
    shape: str
    unannounced: list[int]
    named: int | None
    current_name: str | None
    is_table: bool | None

    @property
    def space(self) -> PartitionSpace:
        """The partitions of the dataset when the table was attached."""
        return PartitionSpace.from_spec(msgspec.json.decode(self.partitioning))

    @property
    def key_columns(self) -> frozenset[str]:
        """The columns that hold the dataset's dimensions."""
        columns, dimensions = msgspec.json.decode(self.columns), self.space.dimensions
        return frozenset(columns.get(name, dim.column or name) for name, dim in dimensions)

    @property
    def table(self) -> str:
        """The table's name when it was attached, for messages."""
        return f"{self.schema_name}.{self.table_name}"


@dataclass(frozen=True)
class Drift:
    """The difference between the attached and the current state of a table.

    `is_total`: every row may have changed without a log entry. Otherwise the `columns` may have
    changed, and the rows in `new_parts` are new.
    """

    reasons: tuple[str, ...]
    is_total: bool
    columns: tuple[str, ...] = ()
    new_parts: tuple[int, ...] = ()
    can_attach: bool = True

    @property
    def misses_changes(self) -> bool:
        """Return whether changes may have happened without a log entry."""
        return bool(self.is_total or self.columns or self.new_parts)


async def stored_attachments(connection: AsyncConnection[Any], org: str) -> Sequence[Stored]:
    """Read the attachments of an org."""
    cursor = connection.cursor(row_factory=class_row(Stored))
    await cursor.execute(statement("attachments.stored"), {"org": org})
    return await cursor.fetchall()


async def read_shape(
    connection: AsyncConnection[Any], org: str, dataset: str, relation: int
) -> str | None:
    """Read the shape of an attached table as JSON; None if the table was dropped."""
    cursor = connection.cursor(row_factory=scalar_row)
    names = list(trigger_names(org, dataset).values())
    await cursor.execute(statement("attachments.shape"), {"triggers": names, "relation": relation})
    return await cursor.fetchone()


def find_drift(stored: Stored, shape: str | None) -> Drift | None:
    """Compare the recorded shape with the current one; None if nothing differs (pure)."""
    if shape is None:
        is_dropped = stored.named is None or not stored.is_table
        reason = "was dropped" if is_dropped else "was dropped and created again"
        return Drift((reason,), is_total=True, can_attach=not is_dropped)
    if stored.named not in (None, stored.relation):
        kind = "another table" if stored.is_table else "not a table"
        reason = f"is {kind} now; the captured table is {stored.current_name}"
        return Drift((reason,), is_total=True, can_attach=bool(stored.is_table))
    return _same_table_drift(stored, _shape(stored.shape), _shape(shape))


def _same_table_drift(stored: Stored, before: Shape, now: Shape) -> Drift | None:
    """The drift of a table that has not been replaced."""
    removed, new = set(before.parts) - set(now.parts), set(now.parts) - set(before.parts)
    columns = _changed_columns(before, now)
    has_lost = _has_lost(before, now, removed)
    reasons = {
        "has triggers that were missing, disabled, replaced or without privileges": has_lost,
        "has lost partitions": removed,
        "has new partitions": new,
        f"has changed columns: {', '.join(columns)}": columns,
        "has another primary key": before.key != now.key,
        "has rows that have not been announced": stored.unannounced,
    }
    if any(reasons.values()):
        return Drift(
            tuple(reason for reason, applies in reasons.items() if applies),
            is_total=has_lost or bool(removed) or not stored.key_columns.isdisjoint(columns),
            columns=columns,
            new_parts=tuple(map(int, new)),
        )
    if stored.named is None:
        reason = f"was renamed to {stored.current_name}"
        return Drift((reason,), is_total=False, can_attach=False)
    return None


def _has_lost(before: Shape, now: Shape, removed: Set[str]) -> bool:
    """Return whether writes may have happened without a log entry, because triggers changed."""
    triggers = now.triggers or {}
    return not now.can_log or any(
        triggers.get(name) != state
        for name, state in (before.triggers or {}).items()
        if name.split()[0] not in removed
    )


def _changed_columns(before: Shape, now: Shape) -> tuple[str, ...]:
    old, new = before.columns or {}, now.columns or {}
    names = sorted(old.keys() | new.keys())
    return tuple(name for name in names if old.get(name) != new.get(name))


def _shape(text: str) -> Shape:
    return msgspec.json.decode(text, type=Shape)
