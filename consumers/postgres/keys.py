"""How SQL tells the partition of a row: one `KeyColumn` for each dimension.

A row's value is put into a *bucket* first, which is cheap; the text of the key is made only for the
distinct buckets. What has no key of the dimension (null, out of bounds, not listed) is a null.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterable
from dataclasses import dataclass
from types import MappingProxyType

from psycopg.sql import SQL, Composable, Composed, Identifier, Literal

from engine.errors import InvalidInput
from engine.partitions.dimension import Dimension
from engine.partitions.intervals import NEG, POS
from engine.partitions.key_dimension import LONGEST, StaticDimension
from engine.partitions.range_dimension import RangeDimension
from engine.partitions.time_dimension import TimeDimension

_NUMBERS = ("smallint", "integer", "bigint", "numeric", "real", "double precision")
_FLOATING = SQL(
    "(CASE WHEN {value} >= {lo}::pg_catalog.float8 AND {value} < {hi}::pg_catalog.float8"
    " THEN floor({value})::pg_catalog.int8 END)::pg_catalog.numeric"
)
_WHOLE: MappingProxyType[str, SQL] = MappingProxyType(
    {"numeric": SQL("floor({value})"), "real": _FLOATING, "double precision": _FLOATING}
)
"""The integer below a number; of what is far beyond all bounds, null."""
_ON_THE_CLOCK: MappingProxyType[str, SQL] = MappingProxyType(
    {
        "timestamp with time zone": SQL("{value} AT TIME ZONE {zone}"),
        # there and back: a reading that the clock skips becomes one that it shows
        "timestamp without time zone": SQL("{value} AT TIME ZONE {zone} AT TIME ZONE {zone}"),
        "date": SQL("{value}::pg_catalog.timestamp AT TIME ZONE {zone} AT TIME ZONE {zone}"),
    }
)
_SECONDS: MappingProxyType[str, int] = MappingProxyType(
    {
        "hour": 3_600,
        "day": 86_400,
        "week": 7 * 86_400,
        "month": 28 * 86_400,
        "quarter": 90 * 86_400,
        "year": 365 * 86_400,
    }
)
"""The shortest window of a grain, about."""
_PATTERNS: MappingProxyType[str, str] = MappingProxyType(
    {
        "hour": 'YYYY-MM-DD"T"HH24',
        "day": "YYYY-MM-DD",
        "week": 'IYYY-"W"IW',
        "month": "YYYY-MM",
        "quarter": 'YYYY-"Q"Q',
        "year": "YYYY",
    }
)


@dataclass(frozen=True)
class KeyColumn(ABC):
    """The column that holds a dimension; its methods give SQL expressions."""

    name: str

    def of(self, row: str) -> Composed:
        """The bucket of a row, which goes by an alias."""
        return self.bucket(Identifier(row, self.name))

    @abstractmethod
    def bucket(self, value: Composable) -> Composed:
        """The bucket that a value falls into."""

    @abstractmethod
    def place(self, bucket: Composable) -> Composed:
        """The bucket itself if the dimension has it, else null."""

    @abstractmethod
    def key(self, bucket: Composable) -> Composed:
        """The key of a bucket, or the range of those that it may stand for."""

    @abstractmethod
    def hull(self, bucket: Composable) -> Composed:
        """An aggregate: one text that covers all buckets."""

    @abstractmethod
    def extent(self, bucket: Composable) -> Composed:
        """An aggregate: how many keys `hull` covers, about; texts count once each."""


@dataclass(frozen=True)
class TimeColumn(KeyColumn):
    """A timestamp or date; one without a time zone is read on the dimension's own clock."""

    dimension: TimeDimension
    type: str

    def bucket(self, value: Composable) -> Composed:
        """See `KeyColumn`."""
        zone = Literal(self.dimension.zone)
        reading = _ON_THE_CLOCK[self.type].format(value=value, zone=zone)
        return SQL("date_trunc({}, {})").format(Literal(self.dimension.grain), reading)

    def place(self, bucket: Composable) -> Composed:
        """See `KeyColumn`; keys of one grain sort as their texts do."""
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
        return SQL("coalesce(extract(epoch FROM max({0}) - min({0})) / {1} + 1, 1)").format(
            bucket, Literal(_SECONDS[self.dimension.grain])
        )

    def _first(self, bucket: Composable) -> Composed:
        return SQL("to_char({}, {})").format(bucket, Literal(_PATTERNS[self.dimension.grain]))

    def _last(self, bucket: Composable) -> Composed:
        return SQL("coalesce({}, {})").format(self._repeated(bucket), self._first(bucket))

    def _repeated(self, bucket: Composable) -> Composed:
        return SQL(
            "(SELECT s.last FROM knockon_source.repeats s"
            " WHERE s.zone = {} AND s.grain = {} AND s.bucket = {})"
        ).format(Literal(self.dimension.zone), Literal(self.dimension.grain), bucket)


@dataclass(frozen=True)
class RangeColumn(KeyColumn):
    """A number."""

    dimension: RangeDimension
    type: str

    def bucket(self, value: Composable) -> Composed:
        """See `KeyColumn`; floored first, since a cast and a quotient of fractions are rounded."""
        whole = _WHOLE.get(self.type, SQL("{value}::pg_catalog.numeric"))
        return SQL("div({whole}, {size}) - (mod({whole}, {size}) < 0)::pg_catalog.int4").format(
            whole=whole.format(value=value, lo=Literal(NEG), hi=Literal(POS)),
            size=Literal(self.dimension.size),
        )

    def place(self, bucket: Composable) -> Composed:
        """See `KeyColumn`."""
        lo, hi = self.dimension.universe.spans[0]
        lo, hi = max(lo, NEG // self.dimension.size), min(hi, POS // self.dimension.size)
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
    """Anything, as its text.

    A cast to text may be defined by the owner of a type. Only types of PostgreSQL itself are cast;
    values of others are printed by their output functions, which only a superuser can define.
    """

    is_builtin: bool

    def bucket(self, value: Composable) -> Composed:
        """See `KeyColumn`."""
        if self.is_builtin:
            return SQL('{}::pg_catalog.text COLLATE "C"').format(value)
        printed = 'CASE WHEN {0} IS NOT NULL THEN pg_catalog.concat({0}) END COLLATE "C"'
        return SQL(printed).format(value)

    def place(self, bucket: Composable) -> Composed:
        """See `KeyColumn`; what `engine.partitions.key_dimension.check_key` refuses is none."""
        return SQL(
            r"CASE WHEN length({0}) <= {1} AND {0} !~ '^$|^\*$|^!|[/=,]|\.\.' THEN {0} END"
        ).format(bucket, Literal(LONGEST))

    def key(self, bucket: Composable) -> Composed:
        """See `KeyColumn`."""
        return SQL("{}").format(bucket)

    def hull(self, bucket: Composable) -> Composed:
        """See `KeyColumn`; texts have no neighbours, so it is the only key or all keys."""
        return SQL("CASE WHEN min({0}) = max({0}) THEN min({0}) ELSE '*' END").format(bucket)

    def extent(self, bucket: Composable) -> Composed:
        """See `KeyColumn`."""
        return SQL("greatest(count(DISTINCT {}), 1)").format(bucket)


@dataclass(frozen=True)
class ListedColumn(TextColumn):
    """A text from a fixed list."""

    dimension: StaticDimension

    def place(self, bucket: Composable) -> Composed:
        """See `KeyColumn`."""
        return SQL("CASE WHEN {0} = ANY ({1}::text[]) THEN {0} END").format(
            bucket, Literal(list(self.dimension.keys))
        )


class NoColumn(KeyColumn):
    """What an unpartitioned table is keyed by: every row falls into the one bucket `*`."""

    def bucket(self, value: Composable) -> Composed:
        """See `KeyColumn`."""
        return SQL("true").format()

    def place(self, bucket: Composable) -> Composed:
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
    """The keys of a dimension in a column of a PostgreSQL type.

    Raises:
        InvalidInput: such a column cannot hold the dimension.
    """
    if type_ == "money":
        raise InvalidInput(
            f"column {name!r} is of type money, whose text depends on lc_monetary: it cannot hold "
            "a dimension; name a column of type numeric"
        )
    match dimension:
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


def _unfit(name: str, type_: str, kind: str, types: Iterable[str]) -> InvalidInput:
    return InvalidInput(
        f"column {name!r} is of type {type_} and cannot hold a {kind} dimension; "
        f"name a column of one of the types {', '.join(types)}"
    )
