"""A scope within a partition: some columns and some rows."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import msgspec

from engine.lineage.columns import ALL_COLUMNS, DirtyColumns, reaches, read_columns
from engine.lineage.graph import Edge
from engine.lineage.narrowing import pass_on
from engine.lineage.rows import RowFilter
from engine.partitions import PartitionSet


class Scope(msgspec.Struct, frozen=True, gc=False):
    """Columns and rows as stored, null for all; ``rows`` is the JSON of a row filter."""

    columns: frozenset[str] | None = None
    rows: Mapping[str, Any] | None = None

    @classmethod
    def of(cls, columns: DirtyColumns, rows: Mapping[str, Any] | None = None) -> Scope:
        """Return the scope of a set of columns."""
        return cls(None if columns is ALL_COLUMNS else columns, rows)

    @property
    def dirty_columns(self) -> DirtyColumns:
        """The set of columns."""
        return ALL_COLUMNS if self.columns is None else self.columns

    def has(self, column: str) -> bool:
        """Return True if a column is part of the scope."""
        return self.columns is None or column in self.columns

    @property
    def key(self) -> str:
        """Canonical text, equal for equal scopes."""
        columns = None if self.columns is None else sorted(self.columns)
        return msgspec.json.encode((columns, self.rows), order="deterministic").decode()


EVERYTHING: Final = Scope()


def is_reached(edge: Edge, partition: PartitionSet, changed: Scope) -> bool:
    """Return whether a change in a scope of the input reaches a partition of the reading job.

    The partition's input must have changed; only columns and rows are checked here.
    """
    return bool(reached(edge, partition, changed))


def reached(edge: Edge, partitions: PartitionSet, changed: Scope) -> PartitionSet:
    """Return the partitions of the job reached by a change in a scope of their input."""
    if changed.columns is not None and not reaches(edge.columns, changed.columns):
        return partitions.space.empty
    if changed.rows is None:
        return partitions
    return pass_on(RowFilter.parse(changed.rows), edge, partitions)[0]


def reaches_more(before: Edge, now: Edge) -> bool:
    """Return whether changes may reach the job over an edge that did not before.

    The edges are one input in two lineages, with the same mapping.
    """
    if before.input.preserved_columns != now.input.preserved_columns:
        return True
    was_read, is_read = read_columns(before.columns), read_columns(now.columns)
    if was_read is ALL_COLUMNS:
        return False
    return is_read is ALL_COLUMNS or not is_read <= was_read
