"""Rows of a table in Debezium's events: where they lie, and which of their values are in doubt."""

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
    "the row as it was may be incomplete; let the table have REPLICA IDENTITY FULL, and then write "
    "`before: full` in the source"
)
_VALUES = 65_536
_LONGEST_ZERO = 128
"""Bytes of JSON; a longer value is no zero of any type, and is not remembered."""


class RowShape:
    """The rows of one schema: where they lie, and which of their values are in doubt."""

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
        """The same rows where `before` holds all fields."""
        self._fields = binding.partition_fields
        self._placeholders = placeholders
        self._are_plain = not any(map(self.doubts.may_hide_null, self._fields))
        self._open = [field for field in self._fields if not self.doubts.holds(field)]
        self._place = binding.placer(kinds_of(fields, DEBEZIUM_KINDS))
        self._may_json_be_left_out = lru_cache(_VALUES)(
            lambda field, text: self.doubts.may_be_left_out(field, msgspec.json.decode(text))
        )

    def place(self, cells: Cells) -> Place:
        """Where a row lies whose partition fields hold these."""
        if self._are_plain:
            for cell in cells:
                if type(cell) is not int and cell in self._placeholders:
                    break
            else:
                return self._place(cells)
        hidden = self.doubts.hidden_nulls(self._fields, cells)
        told = [None if self._stands_for_another(*each) else each[1] for each in self._pairs(cells)]
        found = self._place(tuple(told))
        return found._replace(unsure=AS_NULL) if hidden else found

    def place_before(self, cells: Cells, before: Callable[[], Mapping[str, Any]]) -> Place:
        """Where a row lay whose partition fields held these, as far as `before` tells."""
        if self.is_whole(before):
            return self.full.place(cells)
        doubted = self._doubted(cells, before)
        sure = [None if in_doubt else cell for cell, in_doubt in zip(cells, doubted, strict=True)]
        found = self._place(tuple(sure))
        return found._replace(unsure=DOUBTED) if any(doubted) else found

    def _doubted(self, cells: Cells, before: Callable[[], Mapping[str, Any]]) -> list[bool]:
        """For each partition field, whether it may be left out."""
        if all(map(self.doubts.holds, self._fields)) or not self.doubts.may_hold_defaults(before()):
            return [self.doubts.may_be_left_out(*each) for each in self._pairs(cells)]
        return [not self.doubts.holds(field) for field in self._fields]

    def is_whole(self, before: Callable[[], Mapping[str, Any]]) -> bool:
        """Whether a row's `before` is known to hold all of its fields."""
        if self.full is self:
            return True
        return self.doubts.has_schema and self.doubts.prove_whole(before())

    def is_key_in_doubt(self, cells: Cells) -> bool:
        """Whether a partition field of `before` may be left out."""
        if not self._open and self._are_plain:
            return False
        return any(self.doubts.may_be_left_out(*each) for each in self._pairs(cells))

    def in_doubt(self, layout: Layout, was: Cells, differs: tuple[bool, ...]) -> tuple[int, ...]:
        """The columns that did not change as far as the event shows, but may have.

        A cell of `before` may stand for a value that the log does not hold.
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
        if len(text) <= _LONGEST_ZERO:  # remembered, since few values are in doubt
            return self._may_json_be_left_out(field, text)
        return self.doubts.may_be_left_out(field, value_of(cell))

    def _stands_for_another(self, field: str, cell: Any) -> bool:
        return cell in self._placeholders or self.doubts.may_be_null(field, cell)

    def _pairs(self, cells: Cells) -> Iterator[tuple[str, Any]]:
        return zip(self._fields, cells, strict=True)
