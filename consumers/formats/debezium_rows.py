"""Rows of a table in Debezium's events: their partitions and their ambiguous values."""

from collections.abc import Callable, Iterator, Mapping
from functools import lru_cache
from typing import Any

import msgspec
from msgspec import Raw

from consumers.formats.binding import Binding, Cells, Place
from consumers.formats.connect import DEBEZIUM_KINDS, Fields, kinds_of
from consumers.formats.doubts import AS_NULL, Doubts
from consumers.formats.placeholders import Placeholders
from consumers.formats.rows import Layout, value_of

DOUBTED = (
    "`before` may be incomplete; set REPLICA IDENTITY FULL on the table, then set `before: full` "
    "in the source"
)
_VALUES = 65_536
_MAX_ZERO_BYTES = 128
"""Size as JSON; a longer value is not a zero of any type, and is not cached."""


class RowShape:
    """The rows of one schema: their partitions and their ambiguous values."""

    def __init__(
        self, binding: Binding, fields: Fields, placeholders: Placeholders, *, is_full: bool
    ) -> None:
        source = binding.source
        self.doubts = Doubts(
            fields,
            frozenset(source.key or ()),
            is_full=is_full,
            keeps_nulls=source.replace_null_with_default is False,
        )
        self.full = self if is_full else RowShape(binding, fields, placeholders, is_full=True)
        """The shape for rows whose `before` has all fields."""
        self._fields = binding.partition_fields
        self._placeholders = placeholders
        self._are_plain = not any(map(self.doubts.may_hide_null, self._fields))
        self._has_optional = not all(map(self.doubts.holds, self._fields))
        self._place = binding.placer(kinds_of(fields, DEBEZIUM_KINDS))
        self._may_json_be_left_out = lru_cache(_VALUES)(
            lambda field, text: self.doubts.may_be_left_out(field, msgspec.json.decode(text))
        )

    def place(self, cells: Cells) -> Place:
        """The partition of a row with these values of the partition fields."""
        if self._are_plain:
            for cell in cells:
                if type(cell) is not int and cell in self._placeholders:
                    break
            else:
                return self._place(cells)
        hidden = self.doubts.hidden_nulls(self._fields, cells)
        reliable = [
            None if cell in self._placeholders or self.doubts.may_be_null(field, cell) else cell
            for field, cell in self._pairs(cells)
        ]
        place = self._place(tuple(reliable))
        return place._replace(unsure=AS_NULL) if hidden else place

    def place_before(self, cells: Cells, before: Callable[[], Mapping[str, Any]]) -> Place:
        """The previous partition of a row whose `before` has these partition cells."""
        if self.is_whole(before):
            return self.full.place(cells)
        in_doubt = self._partition_fields_in_doubt(cells, before)
        reliable = [
            None if doubtful else cell for cell, doubtful in zip(cells, in_doubt, strict=True)
        ]
        place = self._place(tuple(reliable))
        return place._replace(unsure=DOUBTED) if any(in_doubt) else place

    def _partition_fields_in_doubt(
        self, cells: Cells, before: Callable[[], Mapping[str, Any]]
    ) -> list[bool]:
        """For each partition field, whether `before` may lack its value."""
        if not self._has_optional or not self.doubts.may_hold_defaults(before()):
            return [self.doubts.may_be_left_out(field, cell) for field, cell in self._pairs(cells)]
        return [not self.doubts.holds(field) for field in self._fields]

    def is_whole(self, before: Callable[[], Mapping[str, Any]]) -> bool:
        """Return whether `before` certainly has all fields of the row."""
        if self.full is self:
            return True
        return self.doubts.has_schema and self.doubts.prove_whole(before())

    def is_key_in_doubt(self, cells: Cells) -> bool:
        """Return whether `before` may lack the value of a partition field."""
        if not self._has_optional and self._are_plain:
            return False
        return any(self.doubts.may_be_left_out(field, cell) for field, cell in self._pairs(cells))

    def in_doubt(self, layout: Layout, was: Cells, differs: tuple[bool, ...]) -> tuple[int, ...]:
        """The columns that appear unchanged in the event, but may have changed.

        Their cell in `before` may be a value that the log does not contain.
        """
        return tuple(
            [
                at
                for at in range(layout.keys, len(was))
                if not differs[at] and self._is_left_out(layout.fields[at], was[at])
            ]
        )

    def _is_left_out(self, field: str, cell: Any) -> bool:
        if type(cell) is not Raw:
            return self.doubts.may_be_left_out(field, cell)
        text = bytes(cell)
        if len(text) <= _MAX_ZERO_BYTES:  # cached, because ambiguous values are few
            return self._may_json_be_left_out(field, text)
        return self.doubts.may_be_left_out(field, value_of(cell))

    def _pairs(self, cells: Cells) -> Iterator[tuple[str, Any]]:
        return zip(self._fields, cells, strict=True)
