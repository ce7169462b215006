"""Around every clock change, an instant is in its window and a local time covers it."""

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

from hypothesis import given
from hypothesis import strategies as st

from consumers.formats.keys import Kind, key_of
from engine.partitions import Intervals, TimeDimension
from engine.partitions.clock import clock

ZONES = st.sampled_from(
    [
        "UTC",
        "America/New_York",
        "Asia/Kathmandu",
        "Australia/Lord_Howe",  # changes by half an hour
        "America/St_Johns",  # changed one minute past midnight
        "America/Sao_Paulo",  # changed at midnight
        "Pacific/Apia",  # skipped a day
    ]
)
GRAINS = st.sampled_from(["hour", "day", "week", "month", "quarter", "year"])
LO, HI = (int(datetime(year, 1, 1, tzinfo=UTC).timestamp()) for year in (1980, 2036))


@st.composite
def moments(draw: st.DrawFn) -> tuple[TimeDimension, int]:
    zone = draw(ZONES)
    turns = [cut for cut in clock(zone).cuts if LO < cut < HI]
    near = st.tuples(st.sampled_from(turns or [LO]), st.integers(-9000, 9000)).map(sum)
    return TimeDimension(draw(GRAINS), zone), draw(near | st.integers(LO, HI))


@given(moments())
def test_an_instant_is_in_its_window(case: tuple[TimeDimension, int]) -> None:
    dimension, instant = case
    window = dimension.overlapping(Intervals.single(instant))
    text = datetime.fromtimestamp(instant, UTC).isoformat()

    for value, kind in (
        (instant, Kind("seconds")),
        (instant * 10**9, Kind("nanos")),
        (text, Kind()),
    ):
        assert dimension.parse(key_of(dimension, kind)(value) or "") == window


@given(moments())
def test_a_local_time_covers_every_matching_instant(case: tuple[TimeDimension, int]) -> None:
    dimension, instant = case
    shown = datetime.fromtimestamp(instant, ZoneInfo(dimension.zone)).replace(tzinfo=None)
    numbers = int(shown.replace(tzinfo=UTC).timestamp())

    for value, kind in ((shown.isoformat(), Kind()), (numbers, Kind("seconds", "numbers"))):
        found = dimension.parse(key_of(dimension, kind)(value) or "")
        assert not dimension.overlapping(Intervals.single(instant)) - found
