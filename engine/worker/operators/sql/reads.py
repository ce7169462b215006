"""Relations visible to a job's SELECT: the inputs by alias, and the partition to compute.

An input is restricted to the rows of the existing partitions required by the mapping.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from psycopg import sql

from engine.model.task import Lease
from engine.partitions import Dimension, Intervals, KeySet, PartitionSet, TimeDimension
from engine.partitions.intervals import NEG, POS
from engine.worker.operators.sql.column_conditions import first_value, instant
from engine.worker.operators.sql.follow import Followed
from engine.worker.operators.sql.predicates import within
from engine.worker.operators.sql.tables import Table
from engine.worker.reading import visible

PARTITION = "knockon_partition"


@dataclass(frozen=True, slots=True)
class Unit:
    """The partitions computed by one statement: a single one, or all of the output."""

    text: str
    partitions: PartitionSet


def common_tables(
    lease: Lease,
    tables: Mapping[str, Table],
    existing: Mapping[str, PartitionSet],
    unit: Unit,
    followed: Followed | None,
) -> sql.Composed:
    """Return entries of a WITH list, without the keyword, so that others can be added.

    ``existing`` has the existing partitions of each input by alias.
    """
    inputs = [
        sql.SQL("{} AS NOT MATERIALIZED (SELECT * FROM {} WHERE {})").format(
            sql.Identifier(alias),
            table.identifier,
            followed.condition
            if followed is not None and followed.alias == alias
            else within(visible(lease, alias, unit.partitions, existing[alias]), table),
        )
        for alias, table in tables.items()
    ]
    partition = sql.SQL("{} AS ({})").format(sql.Identifier(PARTITION), partition_row(unit))
    return sql.SQL(",\n").join([*inputs, partition])


def partition_row(unit: Unit) -> sql.Composed:
    """Return a SELECT of one row: the partition's key, and each dimension's part of the key."""
    (box,) = unit.partitions.boxes
    columns: list[sql.Composable] = [sql.SQL("CAST({} AS text) AS key").format(unit.text)]
    for (name, dimension), members in zip(unit.partitions.space.dimensions, box, strict=True):
        columns += _columns(name, dimension, members)
    return sql.SQL("SELECT {}").format(sql.SQL(", ").join(columns))


def _columns(
    name: str, dimension: Dimension, members: Intervals | KeySet
) -> Iterator[sql.Composable]:
    yield _column(",".join(dimension.texts(members)), "text", name)
    if isinstance(members, Intervals):
        kind = "timestamptz" if isinstance(dimension, TimeDimension) else "int8"
        lo, hi = members.spans[0][0], members.spans[-1][1]
        yield _column(_bound(dimension, lo), kind, f"{name}_start")
        yield _column(_bound(dimension, hi), kind, f"{name}_end")


def _column(value: object, kind: str, name: str) -> sql.Composable:
    typed = sql.SQL("CAST({} AS {})").format(sql.Literal(value), sql.Identifier(kind))
    return sql.SQL("{} AS {}").format(typed, sql.Identifier(name))


def _bound(dimension: Dimension, ordinal: int) -> object:
    """Return the start of a window; None for an open end."""
    if ordinal in (NEG, POS):
        return None
    if isinstance(dimension, TimeDimension):
        return instant(dimension, ordinal)
    return first_value(dimension, ordinal)
