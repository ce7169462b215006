"""Values that may stand for others: nulls written as defaults, and fields that a log leaves out."""

from collections.abc import Mapping, Sequence
from datetime import date
from decimal import Decimal
from typing import Any

from consumers.formats.connect import Fields

AS_NULL = (
    "a value is the default of its field, which may stand for a null: set "
    "`replace.null.with.default` of the converter to false, and `replace_null_with_default: false` "
    "in the source"
)
_ZERO_BYTES = "AA=="
_EPOCH = date(1970, 1, 1).isoformat()
_DIGITS = "0.:"


class Doubts:
    """The doubts about the fields of rows of one schema.

    ``key`` are fields that `before` always holds, and ``is_full``: it holds all of them.
    ``keeps_nulls``: the converter never writes a null as its field's default.
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
        self.is_settled = is_full and not self._hiding
        """Whether no value of any row is in doubt."""

    def may_be_null(self, field: str, value: Any) -> bool:
        """Whether a value may stand for a null."""
        return field in self._hiding and self._fields[field].may_be_default(value)

    def may_be_left_out(self, field: str, value: Any) -> bool:
        """Whether a value of `before` may stand for one that the log does not hold, or a null.

        What it does not hold becomes null, or where null is none the default, or a zero.
        """
        if field in self._hiding and self.may_be_null(field, value):
            return True
        if self._is_full or field in self._key:
            return False
        if is_zero(value):
            return True
        return field in self._fields and self._fields[field].may_be_default(value)

    def may_hold_defaults(self, before: Mapping[str, Any]) -> bool:
        """Whether fields of `before` that are no zeros may be left out as well.

        Without a schema defaults are unknown, so that is wherever any other field may be left out.
        """
        if self._is_full or self._fields:
            return False
        return any(field not in self._key and is_zero(value) for field, value in before.items())

    def prove_whole(self, before: Mapping[str, Any]) -> bool:
        """Whether `before` holds a field that no log would hold unless it held all.

        Columns of a primary key or of a replica identity are never null, so a value in a column
        that may be null shows that the log holds all of them.
        """
        return any(
            declared.is_optional
            and not is_zero(before.get(field))
            and not declared.may_be_default(before[field])
            for field, declared in self._fields.items()
        )

    def hidden_nulls(self, fields: Sequence[str], cells: Sequence[Any]) -> bool:
        """Whether any of these values may stand for a null."""
        return any(map(self.may_be_null, fields, cells))

    def holds(self, field: str) -> bool:
        """Whether `before` is promised to hold a field."""
        return self._is_full or field in self._key

    def may_hide_null(self, field: str) -> bool:
        """Whether a value of the field may stand for a null."""
        if self._keeps_nulls or field not in self._fields:
            return False
        declared = self._fields[field]
        return declared.is_optional and declared.default is not None


def is_zero(value: Any) -> bool:
    """Whether a value is null, or what a connector writes where it has none and null is none."""
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
