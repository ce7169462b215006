"""SQL expressions for the partition of a row: one `KeyColumn` per dimension.

A value is assigned to a *bucket* first, which is cheap; keys are formatted only for distinct
buckets. The key of a value outside the dimension (null, out of bounds, not listed) is null.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from types import MappingProxyType

from psycopg.sql import SQL, Composable, Composed, Identifier, Literal

from engine.errors import InvalidInput
from engine.partitions.calendar import DAY, HOUR
from engine.partitions.clock import clock
from engine.partitions.day_calendar import ShiftedWeekCalendar
from engine.partitions.dimension import Dimension
from engine.partitions.grains import is_cron
from engine.partitions.key_dimension import LONGEST, StaticDimension
from engine.partitions.range_dimension import VALUES, RangeDimension
from engine.partitions.step_calendar import StepCalendar
from engine.partitions.time_dimension import TimeDimension

_YEARS = tuple(int(datetime(year, 1, 1, tzinfo=UTC).timestamp()) for year in (1001, 9998))
"""Limits of readings with a key."""
_NUMBERS = ("smallint", "integer", "bigint", "numeric", "real", "double precision")
_FLOATING = SQL(
    "(CASE WHEN {value} >= {lo}::pg_catalog.float8 AND {value} < {hi}::pg_catalog.float8"
    " THEN floor({value})::pg_catalog.int8 END)::pg_catalog.numeric"
)
_WHOLE: MappingProxyType[str, SQL] = MappingProxyType(
    {"numeric": SQL("floor({value})"), "real": _FLOATING, "double precision": _FLOATING}
)
"""The integer part of a number, rounded down; null for numbers far beyond all bounds."""
_ON_THE_CLOCK: MappingProxyType[str, SQL] = MappingProxyType(
    {
        "timestamp with time zone": SQL("{value} AT TIME ZONE {zone}"),
        # Converting twice moves a reading that the clock skips to one that occurs.
        "timestamp without time zone": SQL("{value} AT TIME ZONE {zone} AT TIME ZONE {zone}"),
        "date": SQL("{value}::pg_catalog.timestamp AT TIME ZONE {zone} AT TIME ZONE {zone}"),
    }
)
_SECONDS: MappingProxyType[str, int] = MappingProxyType(
    {
        "day": 86_400,
        "week": 7 * 86_400,
        "month": 28 * 86_400,
        "quarter": 90 * 86_400,
        "year": 365 * 86_400,
    }
)
"""The approximate minimum length of a window by grain, except for steps."""
_PATTERNS: MappingProxyType[str, str] = MappingProxyType(
    {
        "day": "YYYY-MM-DD",
        "week": 'IYYY-"W"IW',
        "month": "YYYY-MM",
        "quarter": 'YYYY-"Q"Q',
        "year": "YYYY",
    }
)
"""The patterns of keys by grain, except for steps."""


@dataclass(frozen=True)
class KeyColumn(ABC):
    """The column of a dimension; its methods return SQL expressions."""

    name: str

    def of(self, row: str) -> Composed:
        """The bucket of a row with the alias ``row``."""
        return self.bucket(Identifier(row, self.name))

    @abstractmethod
    def bucket(self, value: Composable) -> Composed:
        """The bucket of a value."""

    @abstractmethod
    def valid_bucket(self, bucket: Composable) -> Composed:
        """The bucket itself if it belongs to the dimension, else null."""

    @abstractmethod
    def key(self, bucket: Composable) -> Composed:
        """The key of a bucket, or a range if several keys are possible."""

    @abstractmethod
    def hull(self, bucket: Composable) -> Composed:
        """An aggregate: the text of a range that covers all buckets."""

    @abstractmethod
    def extent(self, bucket: Composable) -> Composed:
        """An aggregate: the approximate number of keys in `hull`; for texts, of distinct keys."""


@dataclass(frozen=True)
class TimeColumn(KeyColumn):
    """A timestamp or date; without a time zone, it is a reading of the dimension's local clock."""

    dimension: TimeDimension
    type: str

    def bucket(self, value: Composable) -> Composed:
        """See `KeyColumn`."""
        grid, zone = self.dimension.calendar, Literal(self.dimension.zone)
        reading = _ON_THE_CLOCK[self.type].format(value=value, zone=zone)
        if grid.shift:
            reading = SQL("({} - {})").format(reading, _interval(grid.shift))
        if isinstance(grid, StepCalendar):
            return SQL("date_bin({}, {}, timestamp '2000-01-01')").format(
                _interval(grid.step), reading
            )
        return SQL("date_trunc({}, {})").format(Literal(self.dimension.grain), reading)

    def valid_bucket(self, bucket: Composable) -> Composed:
        """See `KeyColumn`; keys of one grain sort like their texts, except for repeated steps."""
        grid = self.dimension.calendar
        if isinstance(grid, StepCalendar) and grid.step != HOUR:
            return SQL("CASE WHEN {0} >= {1} AND {0} < {2} THEN {0} END").format(
                bucket, *map(_timestamp, self._certain_steps(grid))
            )
        return SQL(
            "CASE WHEN {bucket} >= '1001-01-01' AND {bucket} < '9998-01-01'"
            ' AND {first} >= {start} COLLATE "C" AND {last} < {end} COLLATE "C" THEN {bucket} END'
        ).format(
            bucket=bucket,
            first=self._first(bucket),
            last=self._last(bucket),
            start=Literal(self.dimension.start or ""),
            end=Literal(self.dimension.end or "~"),
        )

    def _certain_steps(self, grid: StepCalendar) -> tuple[int, int]:
        """The limits of buckets within the bounds, also where the clock repeats them."""
        local = clock(self.dimension.zone).shifted(grid.shift)
        first, end = _YEARS
        if self.dimension.start is not None:
            (start,) = grid.starts([grid.parse(self.dimension.start)])
            first = (local.readings([start - 1])[0] // grid.step + 1) * grid.step
        if self.dimension.end is not None:
            (start,) = grid.starts([grid.parse(self.dimension.end)])
            end = local.earliest_reading(start) // grid.step * grid.step
        return first, end

    def key(self, bucket: Composable) -> Composed:
        """See `KeyColumn`."""
        first, repeated = self._first(bucket), self._repeated(bucket)
        return SQL("{} || coalesce('..' || {}, '')").format(first, repeated)

    def hull(self, bucket: Composable) -> Composed:
        """See `KeyColumn`."""
        first = self._first(SQL("min({})").format(bucket))
        last = self._last(SQL("max({})").format(bucket))
        return SQL("{} || '..' || {}").format(first, last)

    def extent(self, bucket: Composable) -> Composed:
        """See `KeyColumn`."""
        grid, seconds = self.dimension.calendar, _SECONDS.get(self.dimension.grain)
        return SQL("coalesce(extract(epoch FROM max({0}) - min({0})) / {1} + 1, 1)").format(
            bucket, Literal(grid.step if isinstance(grid, StepCalendar) else seconds)
        )

    def _first(self, bucket: Composable) -> Composed:
        grid, pattern = self.dimension.calendar, _PATTERNS.get(self.dimension.grain)
        if isinstance(grid, StepCalendar):
            pattern = 'YYYY-MM-DD"T"HH24' + (":MI" if grid.has_minutes else "")
            bucket = SQL("({} + {})").format(bucket, _interval(grid.shift))
        elif isinstance(grid, ShiftedWeekCalendar):
            pattern = _PATTERNS["day"]
            bucket = SQL("({} + {})").format(bucket, _interval(grid.days * DAY))
        return SQL("to_char({}, {})").format(bucket, Literal(pattern))

    def _last(self, bucket: Composable) -> Composed:
        return SQL("coalesce({}, {})").format(self._repeated(bucket), self._first(bucket))

    def _repeated(self, bucket: Composable) -> Composed:
        return SQL(
            "(SELECT s.last FROM knockon_source.repeats s"
            " WHERE s.zone = {} AND s.grain = {} AND s.bucket = {})"
        ).format(Literal(self.dimension.zone), Literal(self.dimension.label), bucket)


@dataclass(frozen=True)
class RangeColumn(KeyColumn):
    """A number."""

    dimension: RangeDimension
    type: str

    def bucket(self, value: Composable) -> Composed:
        """See `KeyColumn`; floors first, because casts and quotients of fractions are rounded."""
        whole = _WHOLE.get(self.type, SQL("{value}::pg_catalog.numeric"))
        return SQL("div({whole}, {size}) - (mod({whole}, {size}) < 0)::pg_catalog.int4").format(
            whole=whole.format(value=value, lo=Literal(VALUES[0]), hi=Literal(VALUES[-1])),
            size=Literal(self.dimension.size),
        )

    def valid_bucket(self, bucket: Composable) -> Composed:
        """See `KeyColumn`."""
        (lo, hi), size = self.dimension.universe.spans[0], self.dimension.size
        lo, hi = max(lo, -(-VALUES[0] // size)), min(hi, VALUES[-1] // size + 1)
        return SQL("CASE WHEN {0} >= {1} AND {0} < {2} THEN {0} END").format(
            bucket, Literal(lo), Literal(hi)
        )

    def key(self, bucket: Composable) -> Composed:
        """See `KeyColumn`."""
        size = Literal(self.dimension.size)
        return SQL("{0} * {1} || '-' || ({0} * {1} + {1} - 1)").format(bucket, size)

    def hull(self, bucket: Composable) -> Composed:
        """See `KeyColumn`."""
        ends = [self.key(SQL(end).format(bucket)) for end in ("min({})", "max({})")]
        return SQL(" || '..' || ").join(ends)

    def extent(self, bucket: Composable) -> Composed:
        """See `KeyColumn`."""
        return SQL("coalesce(max({0}) - min({0}) + 1, 1)").format(bucket)


@dataclass(frozen=True)
class TextColumn(KeyColumn):
    """A column of any type, keyed by its text.

    The owner of a type may define its cast to text, so only PostgreSQL's own types are cast. Values
    of other types are printed with their output functions, which only a superuser can define.
    """

    is_builtin: bool

    def bucket(self, value: Composable) -> Composed:
        """See `KeyColumn`."""
        if self.is_builtin:
            return SQL('{}::pg_catalog.text COLLATE "C"').format(value)
        printed = 'CASE WHEN {0} IS NOT NULL THEN pg_catalog.concat({0}) END COLLATE "C"'
        return SQL(printed).format(value)

    def valid_bucket(self, bucket: Composable) -> Composed:
        """See `KeyColumn`; excludes keys that `engine.partitions.key_dimension` rejects."""
        return SQL(
            r"CASE WHEN length({0}) <= {1} AND {0} !~ '^$|^\*$|^!|[/=,]|\.\.' THEN {0} END"
        ).format(bucket, Literal(LONGEST))

    def key(self, bucket: Composable) -> Composed:
        """See `KeyColumn`."""
        return SQL("{}").format(bucket)

    def hull(self, bucket: Composable) -> Composed:
        """See `KeyColumn`; texts form no ranges, so the hull is the only key or all keys."""
        return SQL("CASE WHEN min({0}) = max({0}) THEN min({0}) ELSE '*' END").format(bucket)

    def extent(self, bucket: Composable) -> Composed:
        """See `KeyColumn`."""
        return SQL("greatest(count(DISTINCT {}), 1)").format(bucket)


@dataclass(frozen=True)
class ListedColumn(TextColumn):
    """A text from a fixed list."""

    dimension: StaticDimension

    def valid_bucket(self, bucket: Composable) -> Composed:
        """See `KeyColumn`."""
        return SQL("CASE WHEN {0} = ANY ({1}::text[]) THEN {0} END").format(
            bucket, Literal(list(self.dimension.keys))
        )


class NoColumn(KeyColumn):
    """The key of an unpartitioned table: every row belongs to the single bucket `*`."""

    def bucket(self, value: Composable) -> Composed:
        """See `KeyColumn`."""
        return SQL("true").format()

    def valid_bucket(self, bucket: Composable) -> Composed:
        """See `KeyColumn`."""
        return SQL("{}").format(bucket)

    def key(self, bucket: Composable) -> Composed:
        """See `KeyColumn`."""
        return SQL("'*'").format()

    def hull(self, bucket: Composable) -> Composed:
        """See `KeyColumn`."""
        return SQL("'*'").format()

    def extent(self, bucket: Composable) -> Composed:
        """See `KeyColumn`."""
        return SQL("1").format()


def key_column(
    dimension: Dimension, name: str, type_: str, *, is_builtin: bool = True
) -> KeyColumn:
    """The key column of a dimension, for a column of a PostgreSQL type.

    Raises:
        InvalidInput: the type does not fit the dimension.
    """
    if type_ == "money":
        raise InvalidInput(
            f"column {name!r} has type money, whose text depends on lc_monetary, so it cannot be "
            "a dimension; name a column of type numeric"
        )
    match dimension:
        case TimeDimension() if is_cron(dimension.grain):
            raise InvalidInput(
                f"column {name!r}: triggers cannot compute keys by the cron expression "
                f"{dimension.grain!r}; partition the table by `time` or `every`, and a dataset "
                "computed from it by `cron`"
            )
        case TimeDimension() if type_ in _ON_THE_CLOCK:
            return TimeColumn(name, dimension, type_)
        case TimeDimension():
            raise _unfit(name, type_, "time", _ON_THE_CLOCK)
        case RangeDimension() if type_ in _NUMBERS:
            return RangeColumn(name, dimension, type_)
        case RangeDimension():
            raise _unfit(name, type_, "range", _NUMBERS)
        case StaticDimension():
            return ListedColumn(name, is_builtin, dimension)
    return TextColumn(name, is_builtin)


def _timestamp(reading: int) -> Composed:
    at = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=reading)
    return SQL("timestamp {}").format(Literal(f"{at:%Y-%m-%d %H:%M:%S}"))


def _interval(seconds: int) -> Composed:
    return SQL("make_interval(secs => {})").format(Literal(seconds))


def _unfit(name: str, type_: str, kind: str, types: Iterable[str]) -> InvalidInput:
    return InvalidInput(
        f"column {name!r} has type {type_} and cannot be a {kind} dimension; "
        f"name a column of one of the types {', '.join(types)}"
    )
