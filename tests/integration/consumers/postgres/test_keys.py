"""The keys made in SQL equal the keys of the partition space."""

from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from random import Random

import pytest
from psycopg.sql import SQL, Identifier

from consumers.postgres.keys import key_column
from consumers.postgres.repeats import repeats
from engine.errors import InvalidInput, InvalidPartition
from engine.partitions.clock import clock
from engine.partitions.intervals import Intervals
from engine.partitions.key_dimension import DynamicDimension, StaticDimension, check_key
from engine.partitions.range_dimension import RangeDimension
from engine.partitions.spec import read_dimension
from engine.partitions.time_dimension import TimeDimension
from tests.property.partitions.windows import spec_of

GRAINS = [
    *("hour", "day", "week", "month", "quarter", "year"),
    *("week from thursday 18:30", "day from 01:30", "15m", "8h from 06:00"),
]
ZONES = [
    "UTC",
    "America/New_York",
    "Europe/Berlin",
    "Asia/Kolkata",  # half an hour off
    "Australia/Lord_Howe",  # changes by half an hour
    "America/St_Johns",  # changed one minute past midnight, into the day before
    "America/Sao_Paulo",  # changed at midnight
    "Pacific/Apia",  # skipped a day
]
SINCE, UNTIL = (int(datetime(year, 1, 1, tzinfo=UTC).timestamp()) for year in (1980, 2036))


def instants(zone: str) -> Iterator[datetime]:
    """Around every change of the clock, and some at random."""
    random = Random(zone)
    turns = clock(zone)
    for cut in turns.cuts:
        if SINCE < cut < UNTIL:
            yield from (at(cut + 900 * step + random.choice([0, -1])) for step in range(-10, 11))
    yield from (at(random.randrange(SINCE, UNTIL)) for _ in range(200))


def at(seconds: int) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)


async def keys(source, dimension, type_, values) -> list[str | None]:
    column = key_column(dimension, "value", type_)
    query = SQL(
        "SELECT {key} AS key FROM (SELECT {valid} AS b, i FROM (SELECT {bucket} AS b, i"
        " FROM unnest(%s::{type}[]) WITH ORDINALITY AS row (value, i)) q) p ORDER BY i"
    ).format(
        key=column.key(Identifier("b")),
        valid=column.valid_bucket(Identifier("b")),
        bucket=column.of("row"),
        type=SQL(type_),
    )
    rows = await (await source.connection.execute(query, [values])).fetchall()
    return [row.key for row in rows]


@pytest.fixture
async def source(source):
    await source.run("CREATE TABLE t ()")
    await source.attach("t", {})
    return source


async def store(source, grain, zone):
    await source.run("DROP TABLE IF EXISTS z", "CREATE TABLE z (at date)")
    await source.attach("z", {"at": spec_of(grain) | {"zone": zone}})


def time_of(grain: str, zone: str) -> TimeDimension:
    dimension = read_dimension("t", spec_of(grain) | {"zone": zone})
    assert isinstance(dimension, TimeDimension)
    return dimension


def window(dimension: TimeDimension, instant: datetime) -> str:
    (span,) = dimension.overlapping(Intervals.single(int(instant.timestamp()))).spans
    return dimension.format(span[0])


@pytest.mark.parametrize("zone", ZONES)
@pytest.mark.parametrize("grain", GRAINS)
async def test_a_timestamp_with_zone_has_the_key_of_its_window(source, grain, zone):
    await store(source, grain, zone)
    dimension, values = time_of(grain, zone), list(instants(zone))
    doubtful, grid = 0, dimension.calendar  # at most three hours overlap
    actual = await keys(source, dimension, "timestamp with time zone", values)
    for value, key in zip(values, actual, strict=True):
        assert key is not None
        expected = window(dimension, value)
        if ".." in key:
            assert expected in key.split("..")
            assert dimension.parse(key).count() <= max(4, 4 * 3600 // grid.resolution)
            doubtful += 1
        else:
            assert key == expected
    assert bool(doubtful) == any(
        SINCE < b.replace(tzinfo=UTC).timestamp() < UNTIL for b in repeats(dimension)
    )


@pytest.mark.parametrize("zone", ZONES)
@pytest.mark.parametrize("grain", GRAINS)
async def test_a_timestamp_without_zone_uses_the_zone_of_the_dimension(source, grain, zone):
    await store(source, grain, zone)
    dimension, values = time_of(grain, zone), list(instants(zone))
    readings = [
        value.replace(tzinfo=None) + timedelta(seconds=offset(zone, value)) for value in values
    ]
    actual = await keys(source, dimension, "timestamp without time zone", readings)
    for value, key in zip(values, actual, strict=True):
        assert key is not None
        assert window(dimension, value) in key.split("..")


def offset(zone: str, instant: datetime) -> int:
    turns = clock(zone)
    return turns.offsets[turns.segment(int(instant.timestamp()))]


@pytest.mark.parametrize("zone", ZONES)
async def test_every_key_of_a_local_time_can_be_parsed(source, zone):
    """Including local times skipped by the clock."""
    await store(source, "hour", zone)
    dimension = TimeDimension("hour", zone)
    readings = [value.replace(tzinfo=None) for value in instants(zone)]
    for type_ in ("timestamp without time zone", "date"):
        for key in await keys(source, dimension, type_, readings):
            assert key is not None
            assert dimension.parse(key)


async def test_a_date_belongs_to_the_window_of_its_midnight(source):
    days = [date(2013, 2, 10), date(2013, 2, 13)]
    sundays = await keys(source, time_of("week from sunday", "UTC"), "date", days)
    assert sundays == ["2013-02-10", "2013-02-10"]
    mornings = await keys(source, time_of("day from 06:00", "UTC"), "date", days)
    assert mornings == ["2013-02-09", "2013-02-12"]


def test_a_cron_expression_is_rejected_with_an_alternative():
    dimension = TimeDimension("0 0 1,15 * *")
    with pytest.raises(InvalidInput, match="partition the table by `time` or `every`"):
        key_column(dimension, "value", "date")


async def test_a_date_has_the_key_of_its_day(source):
    dimension = TimeDimension("day", "Pacific/Apia")
    days = [date(2011, 12, 29), date(2011, 12, 30), date(2011, 12, 31)]
    actual = await keys(source, dimension, "date", days)
    assert actual == ["2011-12-29", "2011-12-31", "2011-12-31"]  # the 30th was skipped


@pytest.mark.parametrize(
    ("start", "end", "value", "key"),
    [
        ("2013-02-13", None, "2013-02-12 23:59:59", None),
        ("2013-02-13", None, "2013-02-13 00:00", "2013-02-13"),
        (None, "2013-02-13", "2013-02-12 23:59:59", "2013-02-12"),
        (None, "2013-02-13", "2013-02-13 00:00", None),
        (None, None, "infinity", None),
        (None, None, "-infinity", None),
        (None, None, "2013-02-13 00:00 BC", None),
        (None, None, "19999-02-13 00:00", None),
    ],
)
async def test_a_time_out_of_bounds_has_no_key(source, start, end, value, key):
    dimension = TimeDimension("day", "UTC", start, end)
    actual = await keys(source, dimension, "timestamp without time zone", [value])
    assert actual == [key]


async def test_a_bound_within_a_repeated_hour_excludes_both_windows(source):
    await store(source, "hour", "America/New_York")
    dimension = TimeDimension("hour", "America/New_York", None, "2013-11-03T01-0500")
    values = ["2013-11-03 00:30", "2013-11-03 01:30"]
    actual = await keys(source, dimension, "timestamp without time zone", values)
    assert actual == ["2013-11-03T00", None]


async def test_bounds_within_a_repeated_hour_exclude_the_steps_of_both_passes(source):
    quarters = {"every": "15m", "zone": "America/New_York"}
    await store(source, "15m", "America/New_York")
    values = [f"2013-11-03 {at}" for at in ("00:45", "01:00", "01:30", "02:00")]
    later = read_dimension("t", quarters | {"start": "2013-11-03T01:15-0500"})
    found = await keys(source, later, "timestamp without time zone", values)
    assert found == [None, None, None, "2013-11-03T02:00"]
    earlier = read_dimension("t", quarters | {"end": "2013-11-03T01:30"})
    found = await keys(source, earlier, "timestamp without time zone", values)
    assert found == ["2013-11-03T00:45", None, None, None]


async def test_a_step_out_of_bounds_has_no_key(source):
    shifts = {"every": "8h", "starts_at": "06:00"}
    bounded = read_dimension("t", shifts | {"start": "2013-02-13T14", "end": "2013-02-14T06"})
    values = [
        *("2013-02-13 13:59:59", "2013-02-13 14:00", "2013-02-14 05:59", "2013-02-14 06:00"),
        *("infinity", "-infinity", "19999-02-13 00:00"),
    ]
    found = await keys(source, bounded, "timestamp without time zone", values)
    assert found == [None, "2013-02-13T14", "2013-02-13T22", *[None] * 4]


@pytest.mark.parametrize("type_", ["smallint", "bigint", "numeric", "double precision"])
@pytest.mark.parametrize("size", [1, 7, 10_000])
async def test_a_number_has_the_key_of_its_bucket(source, size, type_):
    random = Random(size)
    values = [0, -1, size, -size, -size - 1, *(random.randrange(-32768, 32767) for _ in range(200))]
    dimension = RangeDimension(size)
    actual = await keys(source, dimension, type_, values)
    assert actual == [dimension.format(value // size) for value in values]


@pytest.mark.parametrize(
    ("type_", "size", "value", "start"),
    [
        ("real", 10, "1234567", 1_234_560),
        ("real", 10_000, "-0.5", -10_000),
        ("double precision", 10, "1234567890123456", 1_234_567_890_123_450),
        ("double precision", 10_000, "9999.999999999998", 0),
        ("bigint", 100, "1234567890123456789", 1_234_567_890_123_456_700),
        ("bigint", 10, "9223372036854775807", 9_223_372_036_854_775_800),
        ("double precision", 1, "4611686018427387904", 2**62),
        ("bigint", 10, "899999999999999999", 899_999_999_999_999_990),
        ("numeric", 10_000, "9999.9999999999999999999999", 0),
    ],
)
async def test_casts_and_quotients_do_not_round_up(source, type_, size, value, start):
    dimension = RangeDimension(size)
    assert await keys(source, dimension, type_, [value]) == [dimension.format(start // size)]


@pytest.mark.parametrize("value", ["NaN", "Infinity", "-Infinity", "1e300", "1.8e38", "-1.8e38"])
async def test_a_float_out_of_bounds_has_no_key(source, value):
    assert await keys(source, RangeDimension(10), "double precision", [value]) == [None]


@pytest.mark.parametrize(
    ("value", "key"),
    [
        *(("-1", None), ("NaN", None), ("Infinity", None), ("25", "20-29"), ("1e300", None)),
        (str(2**128), None),
    ],
)
async def test_a_number_out_of_bounds_has_no_key(source, value, key):
    dimension = RangeDimension(10, start=0)
    assert await keys(source, dimension, "numeric", [value]) == [key]


async def test_a_text_that_is_a_valid_key_has_a_key(source):
    texts = [
        "JFK",
        "",
        "*",
        "**",
        "!a",
        "a!",
        "a/b",
        "a=b",
        "a,b",
        "a..b",
        "a.b",
        "..",
        "a\nb",
        "ü",
        "ü" * 100,
        "a" * 101,
    ]
    actual = await keys(source, DynamicDimension(), "text", texts)
    assert actual == [text if may_be_key(text) else None for text in texts]


def may_be_key(text: str) -> bool:
    try:
        return check_key(text, "here") == text
    except InvalidPartition:
        return False


async def test_a_listed_text_is_its_own_key(source):
    dimension = StaticDimension(("JFK", "O'Hare", '{"}'))
    texts = ["O'Hare", "JFK", "jfk", '{"}', "LGA"]
    actual = await keys(source, dimension, "text", texts)
    assert actual == ["O'Hare", "JFK", None, '{"}', None]


_TYPED = {
    "day": ("date", "'13.02.2013'", "2013-02-13"),
    "at": ("timestamptz", "'2013-02-13 00:00Z'", "2013-02-13 00:00:00+00"),
    "f": ("float8", "0.1::float8 + 0.2", "0.30000000000000004"),
    "i": ("interval", "'1 year 2 days 3:04:05'", "1 year 2 days 03:04:05"),
    "b": ("bytea", r"'\xde00ff'", r"\xde00ff"),
    "r": ("regclass", "'pg_catalog.pg_class'", "pg_class"),
    "e": ("text", "'*'", None),
    "p": ("text", "'a..b'", None),
    "w": ("text", "'a*b'", "a*b"),
}
_SETTINGS = [
    "SET datestyle = 'German, DMY'",
    "SET timezone = 'Asia/Tokyo'",
    "SET extra_float_digits = 0",
    "SET intervalstyle = 'iso_8601'",
    "SET bytea_output = 'escape'",
    "SET quote_all_identifiers = on",
    "SET standard_conforming_strings = off",
    "SET escape_string_warning = off",
    "SET array_nulls = off",
    "SET transform_null_equals = on",
    "SET search_path = pg_temp",
]


async def test_a_key_does_not_depend_on_session_settings(source):
    columns = ", ".join(f"{name} {kind}" for name, (kind, _, _) in _TYPED.items())
    values = [f"CAST({value} AS {kind}) AS {name}" for name, (kind, value, _) in _TYPED.items()]
    key = "/".join(f"{name}={text or '*'}" for name, (_, _, text) in _TYPED.items())
    await source.run(
        f"CREATE TABLE s (id int PRIMARY KEY, {columns})",
        "SET datestyle = 'German'",
        f"CREATE TABLE stored AS SELECT 1 AS id, {', '.join(values)}",
        *_SETTINGS,
    )
    space = {name: {"dynamic": True} for name in _TYPED}
    await source.attach("public.s", space)
    logged = await source.logged("INSERT INTO public.s SELECT * FROM public.stored")
    assert logged == [("insert", [key], None, 1)]
    await source.run("DELETE FROM knockon_source.changes")
    await source.attach("public.s", space, announce=True)
    assert await source.rows("SELECT partitions FROM knockon_source.changes") == [([key],)]


async def test_money_has_no_key(source):
    """Its text depends on lc_monetary, and so does reading the text back."""
    await source.run("CREATE DOMAIN price AS money", "CREATE TABLE s (id int, m money, p price)")
    for name in ("m", "p"):
        with pytest.raises(InvalidInput, match=f"column '{name}' has type money"):
            await source.attach("s", {name: {"dynamic": True}})
