"""Row filters: selections of rows of a dataset, written as data and never as SQL text.

``{column: scalar | {"in": [...]} | {"gt" | "gte" | "lt" | "lte": x}}``; a row matches if it meets
all conditions.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import date, datetime, time
from typing import Any, Literal

from engine.errors import InvalidFilter
from engine.model.text import is_storable

Operator = Literal["eq", "in", "gt", "gte", "lt", "lte"]
Scalar = str | int | float | bool

_LOWER, _UPPER = ("gt", "gte"), ("lt", "lte")


@dataclass(frozen=True, slots=True)
class Condition:
    """A test of one column. ``value`` is a tuple of scalars for ``in``."""

    column: str
    operator: Operator
    value: Scalar | tuple[Scalar, ...]

    @property
    def values(self) -> tuple[Scalar, ...]:
        """The values, of which a row must meet one."""
        return self.value if isinstance(self.value, tuple) else (self.value,)


@dataclass(frozen=True, slots=True)
class RowFilter:
    """A conjunction of conditions, ordered so that equivalent filters compare equal."""

    conditions: tuple[Condition, ...] = ()

    @staticmethod
    def parse(spec: Mapping[str, Any], columns: Collection[str] | None = None) -> RowFilter:
        """Read a filter's JSON.

        Args:
            spec: Conditions by column; without any, every row matches.
            columns: The columns of the dataset, or None if unknown.

        Raises:
            InvalidFilter: unknown column or operator, a value of a wrong type, an empty ``in``,
                or an empty range between bounds.
        """
        if not isinstance(spec, Mapping):
            raise InvalidFilter(f"a row filter is an object of conditions by column, not {spec!r}")
        for column in spec:
            _check_column(column, columns)
        return RowFilter(tuple(c for column in sorted(spec) for c in _conditions(column, spec)))

    def __bool__(self) -> bool:
        return bool(self.conditions)

    def spec(self) -> dict[str, Any]:
        """Return the canonical JSON, from which `parse` restores an equal filter."""
        tests: dict[str, Any] = {}
        for c in self.conditions:
            if c.operator == "eq":
                tests[c.column] = c.value
            else:
                value = list(c.value) if isinstance(c.value, tuple) else c.value
                tests.setdefault(c.column, {})[c.operator] = value
        return tests

    def propagate(self, preserved_columns: Mapping[str, Collection[str]]) -> RowFilter | None:
        """Translate the filter to a job's output, or return None if no condition carries over.

        ``preserved_columns`` maps each input column to the output columns that carry it unchanged.
        Conditions on other columns are dropped, which widens the filter. If one output column
        carries several input columns, their conditions are dropped too, because a filter has one
        test per column.
        """
        sources: dict[str, set[str]] = {}
        for c in self.conditions:
            for output in preserved_columns.get(c.column, ()):
                sources.setdefault(output, set()).add(c.column)
        kept = {
            Condition(output, c.operator, c.value)
            for c in self.conditions
            for output in preserved_columns.get(c.column, ())
            if len(sources[output]) == 1
        }
        ordered = sorted(kept, key=lambda c: (c.column, c.operator))
        return RowFilter(tuple(ordered)) if ordered else None


def _check_column(column: Any, columns: Collection[str] | None) -> None:
    if not isinstance(column, str) or not column:
        raise InvalidFilter(f"columns of a row filter are texts, not {column!r}")
    if columns is not None and column not in columns:
        known = ", ".join(sorted(columns))
        raise InvalidFilter(f"row filter: there is no column {column!r}; the columns are {known}")


def _conditions(column: str, spec: Mapping[str, Any]) -> Iterator[Condition]:
    test = spec[column]
    if not isinstance(test, Mapping):
        yield Condition(column, "eq", _scalar(column, test))
    elif test.keys() == {"in"}:
        yield _membership(column, test["in"])
    elif test and test.keys() <= {*_LOWER, *_UPPER}:
        yield from _bounds(column, test)
    else:
        raise InvalidFilter(
            f"row filter on {column!r}: {sorted(map(str, test))} is not a test; use a value, "
            "{in: [...]}, or bounds out of gt, gte, lt, lte"
        )


def _membership(column: str, values: Any) -> Condition:
    if not isinstance(values, list | tuple) or not values:
        raise InvalidFilter(f"row filter on {column!r}: in needs a list with at least one value")
    if len({_kind(_scalar(column, value)) for value in values}) > 1:
        raise InvalidFilter(f"row filter on {column!r}: the values of in have different types")
    ordered = tuple(sorted(set(values)))
    if len(ordered) == 1:
        return Condition(column, "eq", ordered[0])
    return Condition(column, "in", ordered)


def _bounds(column: str, test: Mapping[str, Any]) -> Iterator[Condition]:
    for side in (_LOWER, _UPPER):
        if test.keys() >= set(side):
            raise InvalidFilter(f"row filter on {column!r}: give {side[0]} or {side[1]}, not both")
    values = {operator: _bound(column, test[operator]) for operator in sorted(test)}
    if len({_kind(value) for value in values.values()}) > 1:
        raise InvalidFilter(f"row filter on {column!r}: the bounds have different types")
    if _is_inverted(values):
        raise InvalidFilter(f"row filter on {column!r}: no value lies within {values}")
    for operator, value in values.items():
        yield Condition(column, operator, value)  # type: ignore[arg-type]  # keys were checked


def _bound(column: str, value: Any) -> Scalar:
    if isinstance(value, bool):
        raise InvalidFilter(
            f"row filter on {column!r}: {value} is not a bound; compare with a value"
        )
    return _scalar(column, value)


def _is_inverted(values: Mapping[str, Scalar]) -> bool:
    if len(values) < 2:
        return False
    lower = _comparable(_first(values, _LOWER), time.min)
    # A date is the whole day, so its last moment is the bound of `lte`.
    upper = _comparable(_first(values, _UPPER), time.max if "lte" in values else time.min)
    try:
        return bool(lower > upper or (lower == upper and values.keys() != {"gte", "lte"}))
    except TypeError:  # one instant with an offset, one without
        return False


def _first(values: Mapping[str, Scalar], operators: Iterable[str]) -> Scalar:
    return next(values[operator] for operator in operators if operator in values)


def _comparable(value: Scalar, time_of_date: time) -> Any:
    """Return the value for comparison; NaN for text other than dates.

    The database compares such text by its collation, which is unknown here.
    """
    if not isinstance(value, str):
        return value
    try:
        return datetime.combine(date.fromisoformat(value), time_of_date)
    except ValueError:
        pass
    try:
        return datetime.fromisoformat(value)
    except ValueError:
        return math.nan


def _scalar(column: str, value: Any) -> Scalar:
    if isinstance(value, float) and not math.isfinite(value):
        raise InvalidFilter(f"row filter on {column!r}: {value} is not a number to compare with")
    if not isinstance(value, str | int | float | bool):
        raise InvalidFilter(
            f"row filter on {column!r}: {value!r} is not a text, a number or a boolean"
        )
    if isinstance(value, str) and not is_storable(value):
        raise InvalidFilter(
            f"row filter on {column!r}: a text column cannot contain a NUL character or half of a "
            "surrogate pair"
        )
    return value


def _kind(value: Scalar) -> str:
    if isinstance(value, bool):
        return "boolean"
    return "text" if isinstance(value, str) else "number"
