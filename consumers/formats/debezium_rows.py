"""Rows of a table in Debezium's events: their partitions and their ambiguous values."""

from collections.abc import Callable, Iterator, Mapping
from functools import lru_cache
from typing import Any

import msgspec
from msgspec import Raw

from consumers.formats.ambiguous_values import AS_NULL, AmbiguousValues
from consumers.formats.binding import Binding, Cells, RowPartition
from consumers.formats.connect import DEBEZIUM_KINDS, Fields, kinds_of
from consumers.formats.placeholders import Placeholders
from consumers.formats.rows import Layout, value_of

INCOMPLETE_BEFORE = (
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
        self.ambiguous = AmbiguousValues(
            fields,
            frozenset(source.key or ()),
            is_full=is_full,
            keeps_nulls=source.replace_null_with_default is False,
        )
        self.full = self if is_full else RowShape(binding, fields, placeholders, is_full=True)
        """The shape for rows whose `before` has all fields."""
        self._fields = binding.partition_fields
        self._placeholders = placeholders
        self._are_plain = not any(map(self.ambiguous.may_hide_null, self._fields))
        self._has_optional = not all(map(self.ambiguous.holds, self._fields))
        self._read_partition = binding.partition_reader(kinds_of(fields, DEBEZIUM_KINDS))
        self._may_json_be_left_out = lru_cache(_VALUES)(
            lambda field, text: self.ambiguous.may_be_left_out(field, msgspec.json.decode(text))
        )

    def partition(self, cells: Cells) -> RowPartition:
        """The partition of a row with these values of the partition fields."""
        if self._are_plain:
            for cell in cells:
                if type(cell) is not int and cell in self._placeholders:
                    break
            else:
                return self._read_partition(cells)
        hidden = self.ambiguous.hidden_nulls(self._fields, cells)
        reliable = [
            None if cell in self._placeholders or self.ambiguous.may_be_null(field, cell) else cell
            for field, cell in self._pairs(cells)
        ]
        partition = self._read_partition(tuple(reliable))
        return partition._replace(uncertainty=AS_NULL) if hidden else partition

    def partition_before(
        self, cells: Cells, before: Callable[[], Mapping[str, Any]]
    ) -> RowPartition:
        """The previous partition of a row whose `before` has these partition cells."""
        if self.is_whole(before):
            return self.full.partition(cells)
        uncertain_fields = self._uncertain_partition_fields(cells, before)
        reliable = [
            None if is_uncertain else cell
            for cell, is_uncertain in zip(cells, uncertain_fields, strict=True)
        ]
        uncertainty = INCOMPLETE_BEFORE if any(uncertain_fields) else None
        partition = self._read_partition(tuple(reliable))
        return partition._replace(uncertainty=uncertainty) if uncertainty else partition

    def _uncertain_partition_fields(
        self, cells: Cells, before: Callable[[], Mapping[str, Any]]
    ) -> list[bool]:
        """One flag per partition field: `before` may lack its value."""
        if not self._has_optional or not self.ambiguous.may_hold_defaults(before()):
            return [
                self.ambiguous.may_be_left_out(field, cell) for field, cell in self._pairs(cells)
            ]
        return [not self.ambiguous.holds(field) for field in self._fields]

    def is_whole(self, before: Callable[[], Mapping[str, Any]]) -> bool:
        """Return whether `before` certainly has all fields of the row."""
        if self.full is self:
            return True
        return self.ambiguous.has_schema and self.ambiguous.prove_whole(before())

    def is_key_uncertain(self, cells: Cells) -> bool:
        """Return whether `before` may lack the value of a partition field."""
        if not self._has_optional and self._are_plain:
            return False
        return any(
            self.ambiguous.may_be_left_out(field, cell) for field, cell in self._pairs(cells)
        )

    def uncertain_columns(
        self, layout: Layout, was: Cells, differs: tuple[bool, ...]
    ) -> tuple[int, ...]:
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
            return self.ambiguous.may_be_left_out(field, cell)
        text = bytes(cell)
        if len(text) <= _MAX_ZERO_BYTES:  # cached, because ambiguous values are few
            return self._may_json_be_left_out(field, text)
        return self.ambiguous.may_be_left_out(field, value_of(cell))

    def _pairs(self, cells: Cells) -> Iterator[tuple[str, Any]]:
        return zip(self._fields, cells, strict=True)
