"""Propagation of dirty columns from the inputs of a job to its outputs.

A set of dirty columns is a frozenset of names, or ALL_COLUMNS: rows were inserted or deleted, or
the changed columns are unknown. JSON and the database represent the latter as null.
"""

from collections.abc import Iterable, Mapping, Sequence
from enum import Enum
from functools import lru_cache
from typing import Final
from uuid import UUID

import msgspec


class AllColumns(Enum):
    """The set of all columns, whatever they are."""

    ALL_COLUMNS = "all columns"


ALL_COLUMNS: Final = AllColumns.ALL_COLUMNS

DirtyColumns = frozenset[str] | AllColumns
EVERY = "*"
"""As an output column: every column of the output. As an input column: any column of the input."""
NO_COLUMN = ""
"""As an input column: the lineage is known, and no column of the input is read."""


class Pruning(Enum):
    """The result of propagation if no column read by the job is dirty."""

    PRUNED = "pruned"


PRUNED: Final = Pruning.PRUNED

ColumnMap = Mapping[str, tuple[str, ...] | AllColumns]
"""The output columns affected by each input column."""
Ends = tuple[UUID, UUID]
"""(output dataset, input dataset)."""
_decode = msgspec.json.Decoder(list[tuple[UUID, UUID, list[str], list[str]]]).decode


def column_map(pairs: Iterable[tuple[str, str]]) -> ColumnMap:
    """Build the column map of one edge from its (output column, input column) pairs."""
    shaped: dict[str, tuple[str, ...] | AllColumns] = {}
    for output, source in pairs:
        if source == NO_COLUMN:
            continue
        outputs = shaped.get(source, ())
        if output == EVERY:
            shaped[source] = ALL_COLUMNS
        elif outputs is not ALL_COLUMNS:
            shaped[source] = (*outputs, output)
    return shaped


@lru_cache(maxsize=4096)
def column_maps(columns: str | None) -> Mapping[Ends, ColumnMap]:
    """Read a job's column lineage: ``[[output, input, [output column], [input column]]]``.

    There is one entry per pair of datasets; its two column lists are parallel. Raises
    msgspec.ValidationError for any other structure.
    """
    return {
        (output_dataset, input_dataset): column_map(zip(outputs, inputs, strict=True))
        for output_dataset, input_dataset, outputs, inputs in (_decode(columns) if columns else ())
    }


def dirty_columns(names: Iterable[str] | None) -> DirtyColumns:
    """Return the set for stored names of columns; null stands for all, or for unknown ones."""
    return ALL_COLUMNS if names is None else frozenset(names)


def stored_columns(columns: DirtyColumns) -> list[str] | None:
    """Return the sorted names for storage; None for all columns."""
    return None if columns is ALL_COLUMNS else sorted(columns)


def union_columns(left: DirtyColumns, right: DirtyColumns) -> DirtyColumns:
    """Return the union of two sets of dirty columns."""
    return ALL_COLUMNS if left is ALL_COLUMNS or right is ALL_COLUMNS else left | right


def propagate_columns(columns: ColumnMap | None, dirty: DirtyColumns) -> DirtyColumns | Pruning:
    """Propagate dirty columns over one edge; an edge without column lineage reads every column.

    A column that affects all output columns may add or remove rows, so no column of the output is
    known to be clean.
    """
    if columns is None or dirty is ALL_COLUMNS:
        return ALL_COLUMNS
    shaped: set[str] = set()
    for column in _read(columns, dirty):
        outputs = columns[column]
        if outputs is ALL_COLUMNS:
            return ALL_COLUMNS
        shaped.update(outputs)
    return frozenset(shaped) if shaped else PRUNED


def affecting_columns(columns: ColumnMap | None, outputs: DirtyColumns) -> DirtyColumns | Pruning:
    """Return the input columns of one edge that affect any of some output columns."""
    if columns is None:
        return ALL_COLUMNS
    affecting = frozenset(
        column
        for column, affected in columns.items()
        if affected is ALL_COLUMNS or outputs is ALL_COLUMNS or not outputs.isdisjoint(affected)
    )
    if EVERY in affecting:
        return ALL_COLUMNS
    return affecting or PRUNED


def _read(columns: ColumnMap, dirty: frozenset[str]) -> Iterable[str]:
    if EVERY in columns:
        yield EVERY
    yield from dirty & columns.keys()


def read_columns(outputs: Sequence[ColumnMap | None]) -> DirtyColumns:
    """Return the input columns read by any of the outputs."""
    if any(column_map is None or EVERY in column_map for column_map in outputs):
        return ALL_COLUMNS
    return frozenset(column for column_map in outputs for column in column_map or ())


def reaches(outputs: Sequence[ColumnMap | None], dirty: DirtyColumns) -> bool:
    """Return whether dirty columns affect any of the outputs."""
    return any(propagate_columns(columns, dirty) is not PRUNED for columns in outputs)
