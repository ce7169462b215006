"""Which columns of an output are dirty when these columns of an input are.

A set of dirty columns is a frozenset of names, or None where rows were inserted or deleted or
nobody knows: then every column is dirty.
"""

from collections.abc import Iterable, Mapping, Sequence
from enum import Enum
from functools import lru_cache
from typing import Final
from uuid import UUID

import msgspec

DirtyColumns = frozenset[str] | None
EVERY = "*"
"""As an output: the input column shapes every output. As an input: any column of it does."""
NO_COLUMN = ""
"""As an input: none of its columns is read, and that is known."""


class Pruning(Enum):
    """The answer when nothing that was read is dirty."""

    PRUNED = "pruned"


PRUNED: Final = Pruning.PRUNED

ColumnMap = Mapping[str, tuple[str, ...] | None]
"""Input column to the output columns that it shapes; None: all of them."""
Ends = tuple[UUID, UUID]
"""(output dataset, input dataset)."""
_decode = msgspec.json.Decoder(list[tuple[UUID, UUID, list[str], list[str]]]).decode


def column_map(pairs: Iterable[tuple[str, str]]) -> ColumnMap:
    """Collect the (output column, input column) pairs of one edge into what `propagate` asks."""
    shaped: dict[str, tuple[str, ...] | None] = {}
    for output, source in pairs:
        if source == NO_COLUMN:
            continue
        outputs = shaped.get(source, ())
        if output == EVERY:
            shaped[source] = None
        elif outputs is not None:
            shaped[source] = (*outputs, output)
    return shaped


@lru_cache(maxsize=4096)
def column_maps(columns: str | None) -> Mapping[Ends, ColumnMap]:
    """Read a job's column lineage: ``[[output, input, [output column], [input column]]]``.

    An entry for each two datasets, and of the columns in it each output with the input at its
    place. Raises msgspec.ValidationError for anything else.
    """
    return {
        (made, read): column_map(zip(outputs, inputs, strict=True))
        for made, read, outputs, inputs in (_decode(columns) if columns else ())
    }


def widest(left: DirtyColumns, right: DirtyColumns) -> DirtyColumns:
    """The columns dirty in either."""
    return None if left is None or right is None else left | right


def propagate(columns: ColumnMap | None, dirty: DirtyColumns) -> DirtyColumns | Pruning:
    """Carry dirty columns over one edge; an edge without column lineage reads everything.

    A column that shapes every output may move rows in and out, so beyond it nothing is known to
    be clean: the answer is None.
    """
    if columns is None or dirty is None:
        return None
    shaped: set[str] = set()
    for column in _read(columns, dirty):
        outputs = columns[column]
        if outputs is None:
            return None
        shaped.update(outputs)
    return frozenset(shaped) if shaped else PRUNED


def _read(columns: ColumnMap, dirty: frozenset[str]) -> Iterable[str]:
    if EVERY in columns:
        yield EVERY
    yield from dirty & columns.keys()


def read_columns(outputs: Sequence[ColumnMap | None]) -> DirtyColumns:
    """The input columns that outputs are made of; None: all of them."""
    if any(each is None or EVERY in each for each in outputs):
        return None
    return frozenset(column for each in outputs for column in each or ())


def reaches(outputs: Sequence[ColumnMap | None], dirty: DirtyColumns) -> bool:
    """Whether dirty columns shape any of the outputs."""
    return any(propagate(each, dirty) is not PRUNED for each in outputs)
