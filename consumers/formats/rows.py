"""Rows as the cells of their fields; of fields that nobody asks for nothing is decoded.

A cell is a plain value where it tells the partition, and elsewhere as its row came: that, or JSON
that nobody has had to decode. It is MISSING where the row has no such field.
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
"""A row as it was decoded, of a type that its `Rows` names."""

_Dict = Mapping[str, Any]
_decode = msgspec.json.Decoder().decode
_LAYOUTS = 64
_PATTERNS = 512
_UNFIT = re.compile(r'["\\\x00-\x1f]')
"""What msgspec takes in no name of a field."""


class _Missing:
    """Differs from everything, even from itself, for nobody knows what is not told."""

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
    """Where two rows differ: in their ``columns``, whose cells are ``at`` those places.

    ``is_elsewhere``: in a field that tells the partition, too. There is one object for a pattern,
    so what is remembered by it is found at once.
    """

    is_elsewhere: bool
    columns: tuple[str, ...]
    at: tuple[int, ...]


class Layout:
    """The cells of a row in order: of the fields that tell its partition, then of its columns."""

    def __init__(self, binding: Binding, pairs: Sequence[tuple[str, str]]) -> None:
        self.keys = len(binding.partition_fields)
        self.fields = (*binding.partition_fields, *(field for field, _ in pairs))
        self.columns = tuple(column for _, column in pairs)
        self.difference = lru_cache(_PATTERNS)(self._difference)
        """By which cells differ."""

    def column(self, at: int) -> str:
        """The column whose cell is at a place behind those of the partition."""
        return self.columns[at - self.keys]

    def _difference(self, differs: tuple[bool, ...]) -> Difference:
        ours = differs[self.keys :]
        at = compress(range(self.keys, len(differs)), ours)
        return Difference(any(differs[: self.keys]), tuple(compress(self.columns, ours)), tuple(at))


class Rows(Protocol):
    """How rows are decoded, and what their cells are."""

    json: Any
    """What msgspec decodes a row of JSON to."""

    plain: Any
    """What msgspec converts a row of plain values to."""

    def place(self, row: Row) -> Cells:
        """The cells of the fields that tell the partition."""

    def both(self, before: Row, after: Row) -> tuple[Layout, Cells, Cells]:
        """The cells of two rows, in one layout."""


def rows_of(binding: Binding) -> Rows:
    """Rows of a dataset as they are bound to it."""
    if binding.columns is None:
        of = lru_cache(_LAYOUTS)(lambda names: Layout(binding, binding.every(names)))
        return _Dicts(binding, lambda before, after: of(frozenset({**before, **after})))
    layout = Layout(binding, binding.pairs(binding.columns))
    if _UNFIT.search("".join(layout.fields)):
        return _Dicts(binding, lambda *_: layout)
    return _Structs(binding, layout)


class _Structs:
    """Rows of which we know the fields that count."""

    def __init__(self, binding: Binding, layout: Layout) -> None:
        self._layout = layout
        names = {field: f"f{at}" for at, field in enumerate(dict.fromkeys(layout.fields))}
        decoded = dict.fromkeys(names, Raw) | dict.fromkeys(binding.partition_fields, Any)
        self.json, self.plain = _struct(names, decoded), _struct(names, dict.fromkeys(names, Any))
        self.place = _cells([names[each] for each in binding.partition_fields])
        self._cells = _cells([names[each] for each in layout.fields])

    def both(self, before: Row, after: Row) -> tuple[Layout, Cells, Cells]:
        return self._layout, self._cells(before), self._cells(after)


class _Dicts:
    """Rows whose fields are known by the row alone, or have names that no struct takes."""

    json, plain = dict[str, Raw], dict[str, Any]

    def __init__(self, binding: Binding, layout: Callable[[_Dict, _Dict], Layout]) -> None:
        self._fields = binding.partition_fields
        self._layout = layout

    def place(self, row: _Dict) -> Cells:
        return tuple([value_of(row.get(each)) for each in self._fields])

    def both(self, before: _Dict, after: _Dict) -> tuple[Layout, Cells, Cells]:
        layout = self._layout(before, after)
        columns = layout.fields[layout.keys :]
        was, now = ([row.get(each, MISSING) for each in columns] for row in (before, after))
        return layout, (*self.place(before), *was), (*self.place(after), *now)


def _struct(names: Mapping[str, str], types: Mapping[str, Any]) -> Any:
    """A type of rows of which each field has the name of an attribute."""
    fields = [(name, types[field], MISSING) for field, name in names.items()]
    renamed = {name: field for field, name in names.items()}
    return msgspec.defstruct("Row", fields, rename=renamed, gc=False)


def _cells(names: list[str]) -> Callable[[Row], Cells]:
    """Attributes as a tuple, however many they are."""
    match names:
        case []:
            return lambda _: ()
        case [name]:
            return lambda row: (getattr(row, name),)
    return attrgetter(*names)


def value_of(cell: Any) -> Any:
    """The plain value of a cell. Raises InvalidEvent."""
    try:
        return _decode(cell) if type(cell) is Raw else cell
    except (ValueError, RecursionError) as error:
        raise InvalidEvent(f"a field of the row is not JSON: {error}") from error
