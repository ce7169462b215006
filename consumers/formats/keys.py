"""In which partition a record lies: the key of a value in a dimension, as the triggers tell it.

`consumers.postgres.keys` has the same rules in SQL: what has no key of the dimension (null, out of
bounds, not listed, unfit for a key) has None, which stands for all of the dimension.
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
    """What is known of a field beyond its values.

    ``unit``: what its numbers count, or that its texts are decimal numbers; ``clock``: which of its
    times are local; ``scale``: its texts are the bytes of a number in base64, with so many decimal
    places.
    """

    unit: str | None = None
    clock: Clock = "utc"
    scale: int | None = None


_DAYS = 65_536

_FAR = 10**30
"""Beyond any number that a key is made of; a short text may name one that fills the memory."""

_EPOCH = datetime(1970, 1, 1)  # noqa: DTZ001 a reading of any zone's clock


def key_of(dimension: Dimension, kind: Kind) -> KeyOf:
    """How to tell a value's key, or the range of those that it may stand for.

    Raises InvalidEvent where the value can only be told with a unit and there is none.
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
    """The value itself where it is a key already: `2013-02`, `0-9999`."""
    try:
        return dimension.value(value).key if isinstance(value, str) else None
    except InvalidPartition:
        return None


def _time_key_of(dimension: TimeDimension, kind: Kind) -> KeyOf:
    """As `_time_key`; numbers, of which streams have most, go the short way."""
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
        first, last = map(windows.key, _showing(when.seconds, dimension.zone))
    except (OverflowError, ValueError):  # beyond the years that a clock can show
        return None
    if first is None or last is None:
        return None
    return first if first == last else first + TO + last


def _showing(reading: int, zone: str) -> tuple[int, int]:
    """The first and the last instant of a reading; a clock set back shows it twice.

    A reading that the clock skips becomes one that it shows.
    """
    shown = (_EPOCH + timedelta(seconds=reading)).replace(tzinfo=ZoneInfo(zone))
    first, again = (int(shown.replace(fold=fold).astimezone(UTC).timestamp()) for fold in (0, 1))
    return first, max(first, again)


def _bucket(dimension: RangeDimension, kind: Kind, value: Any) -> str | None:
    number = _number(value, kind)
    if number is None:
        return _own_key(dimension, value)
    if not -_FAR < number < _FAR:
        return None
    ordinal = floor(number) // dimension.size
    return dimension.format(ordinal) if ordinal in dimension.universe else None


def _number(value: Any, kind: Kind) -> float | Decimal | None:
    """The number that a value is; a text that nobody calls one may be the bytes of another."""
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
        case int() | Decimal() if -_FAR < value < _FAR:
            return str(value)
    return None
