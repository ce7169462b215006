"""Ambiguous values: nulls written as defaults, and columns that the log does not contain."""

from collections.abc import Mapping, Sequence
from datetime import date
from decimal import Decimal
from typing import Any

from consumers.formats.connect import Fields

AS_NULL = (
    "a value equals the default of its field, so it may be a null: set "
    "`replace.null.with.default` of the converter to false, and `replace_null_with_default: false` "
    "in the source"
)
_ZERO_BYTES = "AA=="
_EPOCH = date(1970, 1, 1).isoformat()
_DIGITS = "0.:"


class AmbiguousValues:
    """Detection of ambiguous values in rows of one schema.

    `before` always has the fields in ``key``, and all fields if ``is_full``. ``keeps_nulls``: the
    converter never replaces a null by the field's default.
    """

    def __init__(
        self, fields: Fields, key: frozenset[str], *, is_full: bool, keeps_nulls: bool
    ) -> None:
        self._fields = fields
        self._key = key
        self._is_full = is_full
        self._keeps_nulls = keeps_nulls
        self._hiding = frozenset(filter(self.may_hide_null, fields))
        self.has_schema = bool(fields)
        self.is_empty = is_full and not self._hiding
        """True if no value of any row is ambiguous."""

    def may_be_null(self, field: str, value: Any) -> bool:
        """Return whether a value may be a null."""
        return field in self._hiding and self._fields[field].may_be_default(value)

    def may_be_left_out(self, field: str, value: Any) -> bool:
        """Return whether a value of `before` may be missing from the log, or a null.

        A connector writes missing values as null, as the default or as a zero of the type.
        """
        if field in self._hiding and self.may_be_null(field, value):
            return True
        if self._is_full or field in self._key:
            return False
        if is_zero(value):
            return True
        return field in self._fields and self._fields[field].may_be_default(value)

    def may_hold_defaults(self, before: Mapping[str, Any]) -> bool:
        """Return whether non-zero values of `before` may be missing from the log, too.

        Without a schema the defaults are unknown, so this is true once any value may be missing.
        """
        if self._is_full or self._fields:
            return False
        return any(field not in self._key and is_zero(value) for field, value in before.items())

    def prove_whole(self, before: Mapping[str, Any]) -> bool:
        """Return whether `before` has a field that proves that the log contains all fields.

        Columns of a primary key or a replica identity index are never nullable, so a value in a
        nullable column implies REPLICA IDENTITY FULL.
        """
        return any(
            declared.is_optional
            and not is_zero(before.get(field))
            and not declared.may_be_default(before[field])
            for field, declared in self._fields.items()
        )

    def hidden_nulls(self, fields: Sequence[str], cells: Sequence[Any]) -> bool:
        """Return whether any of the values may be a null."""
        return any(map(self.may_be_null, fields, cells))

    def holds(self, field: str) -> bool:
        """Return whether `before` always has the field."""
        return self._is_full or field in self._key

    def may_hide_null(self, field: str) -> bool:
        """Return whether the converter may write nulls of the field as its default."""
        if self._keeps_nulls or field not in self._fields:
            return False
        declared = self._fields[field]
        return declared.is_optional and declared.default is not None


def is_zero(value: Any) -> bool:
    """Return whether a value is null, or what connectors write for missing non-null fields."""
    if type(value) is int:
        return value == 0
    match value:
        case None | bool() | int() | float() | Decimal():
            return not value
        case str() | date():
            text = str(value)
            return text.startswith(_EPOCH) or text == _ZERO_BYTES or not text.strip(_DIGITS + "Z")
        case bytes():
            return not value.strip(b"\0")
        case dict():
            return all(map(is_zero, value.values()))
        case list():
            return not value
    return False
