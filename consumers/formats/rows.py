"""Rows as tuples of cells; fields that are not needed are not decoded.

A cell of a partition field is a plain value. Cells of other fields may remain undecoded JSON. A
cell is MISSING if the row lacks the field.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import compress
from operator import attrgetter
from typing import Any, Protocol

import msgspec
from msgspec import Raw

from consumers.formats.binding import Binding, Cells
from engine.errors import InvalidEvent

Row = Any
"""A decoded row, of a type that its `Rows` determines."""

_Dict = Mapping[str, Any]
_decode = msgspec.json.Decoder().decode
_LAYOUTS = 64
_PATTERNS = 512
_UNFIT = re.compile(r'["\\\x00-\x1f]')
"""Characters that msgspec does not allow in field names."""


class _Missing:
    """Compares unequal to everything including itself, so that missing values count as changed."""

    __slots__ = ()

    def __eq__(self, other: object) -> bool:
        return False

    def __ne__(self, other: object) -> bool:
        return True

    def __bool__(self) -> bool:
        return False

    __hash__ = object.__hash__


MISSING = _Missing()


@dataclass(frozen=True, slots=True, eq=False)
class Difference:
    """The ``columns`` in which two rows differ, and the indexes ``at`` of their cells.

    ``changes_partition_field``: a partition field differs, too. Instances are shared per pattern,
    which makes them fast cache keys.
    """

    changes_partition_field: bool
    columns: tuple[str, ...]
    at: tuple[int, ...]


class Layout:
    """The order of the cells of a row: the partition fields, then the columns."""

    def __init__(self, binding: Binding, pairs: Sequence[tuple[str, str]]) -> None:
        self.keys = len(binding.partition_fields)
        self.fields = (*binding.partition_fields, *(field for field, _ in pairs))
        self.columns = tuple(column for _, column in pairs)
        self.difference = lru_cache(_PATTERNS)(self._difference)
        """The difference for a tuple of flags, one per cell."""

    def column(self, at: int) -> str:
        """The column of the cell at an index beyond the partition fields."""
        return self.columns[at - self.keys]

    def _difference(self, differs: tuple[bool, ...]) -> Difference:
        in_columns = differs[self.keys :]
        at = compress(range(self.keys, len(differs)), in_columns)
        columns = tuple(compress(self.columns, in_columns))
        return Difference(any(differs[: self.keys]), columns, tuple(at))


class Rows(Protocol):
    """The decoded types of rows, and the extraction of their cells."""

    json: Any
    """The type that msgspec decodes a JSON row to."""

    plain: Any
    """The type that msgspec converts a row of plain values to."""

    def partition_cells(self, row: Row) -> Cells:
        """The cells of the partition fields."""

    def both(self, before: Row, after: Row) -> tuple[Layout, Cells, Cells]:
        """The cells of two rows in a common layout."""


def rows_of(binding: Binding) -> Rows:
    """Choose the representation of the rows of a binding."""
    if binding.columns is None:
        of = lru_cache(_LAYOUTS)(lambda names: Layout(binding, binding.every(names)))
        return _Dicts(binding, lambda before, after: of(frozenset({**before, **after})))
    layout = Layout(binding, binding.pairs(binding.columns))
    if _UNFIT.search("".join(layout.fields)):
        return _Dicts(binding, lambda *_: layout)
    return _Structs(binding, layout)


class _Structs:
    """Rows with declared columns, decoded to a struct of the needed fields."""

    def __init__(self, binding: Binding, layout: Layout) -> None:
        self._layout = layout
        names = {field: f"f{at}" for at, field in enumerate(dict.fromkeys(layout.fields))}
        decoded = dict.fromkeys(names, Raw) | dict.fromkeys(binding.partition_fields, Any)
        self.json, self.plain = _struct(names, decoded), _struct(names, dict.fromkeys(names, Any))
        self.partition_cells = _cells([names[field] for field in binding.partition_fields])
        self._cells = _cells([names[field] for field in layout.fields])

    def both(self, before: Row, after: Row) -> tuple[Layout, Cells, Cells]:
        return self._layout, self._cells(before), self._cells(after)


class _Dicts:
    """Rows without declared columns, or with field names that a struct cannot have."""

    json, plain = dict[str, Raw], dict[str, Any]

    def __init__(self, binding: Binding, layout: Callable[[_Dict, _Dict], Layout]) -> None:
        self._fields = binding.partition_fields
        self._layout = layout

    def partition_cells(self, row: _Dict) -> Cells:
        return tuple([value_of(row.get(field)) for field in self._fields])

    def both(self, before: _Dict, after: _Dict) -> tuple[Layout, Cells, Cells]:
        layout = self._layout(before, after)
        columns = layout.fields[layout.keys :]
        was, now = ([row.get(name, MISSING) for name in columns] for row in (before, after))
        return (
            layout,
            (*self.partition_cells(before), *was),
            (*self.partition_cells(after), *now),
        )


def _struct(names: Mapping[str, str], types: Mapping[str, Any]) -> Any:
    """A struct type; ``names`` maps each field to the name of its attribute."""
    fields = [(name, types[field], MISSING) for field, name in names.items()]
    renamed = {name: field for field, name in names.items()}
    return msgspec.defstruct("Row", fields, rename=renamed, gc=False)


def _cells(names: list[str]) -> Callable[[Row], Cells]:
    """A function that returns attributes as a tuple; `attrgetter` does so only from two on."""
    match names:
        case []:
            return lambda _: ()
        case [name]:
            return lambda row: (getattr(row, name),)
    return attrgetter(*names)


def value_of(cell: Any) -> Any:
    """Decode a cell to a plain value. Raises InvalidEvent."""
    try:
        return _decode(cell) if type(cell) is Raw else cell
    except (ValueError, RecursionError) as error:
        raise InvalidEvent(f"a field of the row is not JSON: {error}") from error
