"""Which columns of an output are dirty when these columns of an input are.

A set of dirty columns is a frozenset of names, or None where rows were inserted or deleted or
nobody knows: then every column is dirty.
"""

from collections import defaultdict
from collections.abc import Hashable, Iterable, Mapping, Sequence
from enum import Enum
from sys import intern
from typing import Final, TypeVar

K = TypeVar("K", bound=Hashable)
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


def column_maps(rows: Iterable[tuple[K, str, str]]) -> dict[K, ColumnMap]:
    """Collect (key, output column, input column) into what `propagate` asks, by key.

    Built in place and out of interned parts: a lineage has a million rows and few distinct names.
    """
    maps: defaultdict[K, dict[str, tuple[str, ...] | None]] = defaultdict(dict)
    interned: dict[tuple[str, ...], tuple[str, ...]] = {}
    for key, output, source in rows:
        shaped = maps[key]
        if source == NO_COLUMN:
            continue
        outputs = shaped.get(source, ())
        if output == EVERY:
            shaped[intern(source)] = None
        elif outputs is not None:
            wider = (*outputs, intern(output))
            shaped[intern(source)] = interned.setdefault(wider, wider)
    return dict(maps)


def column_map(pairs: Iterable[tuple[str, str]]) -> ColumnMap:
    """Collect the (output column, input column) pairs of one edge."""
    return column_maps((None, *pair) for pair in pairs).get(None, {})


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
