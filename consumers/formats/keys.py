"""Partition keys of values: the key of a row's value in a dimension.

`consumers.postgres.keys` implements the same rules in SQL for triggers. A value without a key
(null, out of bounds, not listed, not valid in a key) results in None, which stands for the entire
dimension.
"""

from base64 import b64decode
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal, InvalidOperation
from functools import lru_cache, partial
from math import floor
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

from consumers.formats.moments import PER_SECOND, Clock, moment
from consumers.formats.windows import Windows
from engine.errors import InvalidPartition
from engine.partitions import (
    Dimension,
    RangeDimension,
    StaticDimension,
    TimeDimension,
)
from engine.partitions.dimension import TO
from engine.partitions.key_dimension import check_key

KeyOf = Callable[[Any], str | None]


class Kind(NamedTuple):
    """The meaning of a field's values.

    ``unit`` is the time unit of numbers, or ``decimal`` for texts that are decimal numbers.
    ``clock`` selects the times that are local. With a ``scale``, texts are the unscaled bytes of a
    decimal number in base64, with that many decimal places.
    """

    unit: str | None = None
    clock: Clock = "utc"
    scale: int | None = None


_DAYS = 65_536

_NUMBER_LIMIT = 10**30
"""Above all numbers in keys; without a limit, a short text like 1e999999999 exhausts memory."""

_EPOCH = datetime(1970, 1, 1)  # noqa: DTZ001 a reading of any local clock


def key_of(dimension: Dimension, kind: Kind) -> KeyOf:
    """A function that returns the key of a value, or a range if several keys are possible.

    The function raises InvalidEvent if a value requires a unit and there is none.
    """
    match dimension:
        case TimeDimension():
            return _time_key_of(dimension, kind)
        case RangeDimension():
            return partial(_bucket, dimension, kind)
        case StaticDimension():
            return lambda value: text if (text := _text(value)) in dimension.keys else None
    return _text_key


def _own_key(dimension: TimeDimension | RangeDimension, value: Any) -> str | None:
    """The value itself if it already is a key: `2013-02`, `0-9999`."""
    try:
        return dimension.value(value).key if isinstance(value, str) else None
    except InvalidPartition:
        return None


def _time_key_of(dimension: TimeDimension, kind: Kind) -> KeyOf:
    """Like `_time_key`, with a fast path for numbers, the most frequent type of times."""
    windows = Windows(dimension)
    key = partial(_time_key, dimension, windows, kind)
    if kind.unit == "days":
        days = lru_cache(_DAYS)(key)
        return lambda value: days(value) if type(value) is int else key(value)
    per_second = PER_SECOND.get(kind.unit or "")
    if per_second is None or (kind.clock != "utc" and dimension.zone != "UTC"):
        return key
    return lambda value: windows.key(value // per_second) if type(value) is int else key(value)


def _time_key(dimension: TimeDimension, windows: Windows, kind: Kind, value: Any) -> str | None:
    if own := _own_key(dimension, value):
        return own
    when = moment(value, kind.unit, kind.clock)
    if when is None:
        return None
    if not when.local or dimension.zone == "UTC":
        return windows.key(when.seconds)
    try:
        first, last = map(windows.key, _instants(when.seconds, dimension.zone))
    except (OverflowError, ValueError):  # a year beyond the range of datetime
        return None
    if first is None or last is None:
        return None
    return first if first == last else first + TO + last


def _instants(reading: int, zone: str) -> tuple[int, int]:
    """The first and the last instant of a wall-clock reading; a clock set back repeats readings.

    A reading that the clock skips is moved to one that occurs.
    """
    local = (_EPOCH + timedelta(seconds=reading)).replace(tzinfo=ZoneInfo(zone))
    first, again = (int(local.replace(fold=fold).astimezone(UTC).timestamp()) for fold in (0, 1))
    return first, max(first, again)


def _bucket(dimension: RangeDimension, kind: Kind, value: Any) -> str | None:
    number = _number(value, kind)
    if number is None:
        return _own_key(dimension, value)
    if not -_NUMBER_LIMIT < number < _NUMBER_LIMIT:
        return None
    ordinal = floor(number) // dimension.size
    return dimension.format(ordinal) if ordinal in dimension.universe else None


def _number(value: Any, kind: Kind) -> float | Decimal | None:
    """The value as a number; a text counts only if its kind declares a scale or ``decimal``."""
    match value:
        case bool():
            return None
        case int() | float() | Decimal():
            return value if Decimal(value).is_finite() else None
        case str() if kind.scale is not None:
            return _unscaled(value, kind.scale)
        case str() if kind.unit == "decimal":
            return _decimal(value)
        case {"scale": int(scale), "value": str(text)}:
            return _unscaled(text, scale)
    return None


def _decimal(text: str) -> Decimal | None:
    try:
        number = Decimal(text)
    except InvalidOperation:
        return None
    return number if number.is_finite() else None


def _unscaled(text: str, scale: int) -> Decimal | None:
    try:
        return Decimal(int.from_bytes(b64decode(text, validate=True), "big", signed=True)).scaleb(
            -scale
        )
    except (ValueError, InvalidOperation):
        return None


def _text_key(value: Any) -> str | None:
    text = _text(value)
    if text is None or "\0" in text:
        return None
    try:
        return check_key(text, "key")
    except InvalidPartition:
        return None


def _text(value: Any) -> str | None:
    match value:
        case str():
            return value
        case bool():
            return "true" if value else "false"
        case int() | Decimal() if -_NUMBER_LIMIT < value < _NUMBER_LIMIT:
            return str(value)
    return None
