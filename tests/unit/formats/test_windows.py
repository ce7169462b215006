"""Cached windows assign every instant to the same key as uncached windows."""

import pytest

from consumers.formats.windows import Windows
from engine.partitions import TimeDimension

NOVEMBER = 1383350400  # 2013-11-02T00Z, a day before the end of daylight saving time in New York
DAYS = TimeDimension("day", "America/New_York", start="2013-11-02", end="2013-11-04")
HOURS = TimeDimension("hour", "America/New_York")


MORNINGS = TimeDimension("day", "America/New_York", starts_at="06:00")
QUARTERS = TimeDimension("15m", "America/New_York")
TIMES = TimeDimension("30 1,18 * * *", "America/New_York")


@pytest.mark.parametrize(
    "dimension", [DAYS, HOURS, MORNINGS, QUARTERS, TIMES], ids=lambda d: d.label
)
def test_the_key_of_an_instant_is_independent_of_earlier_lookups(dimension: TimeDimension) -> None:
    instants = range(NOVEMBER, NOVEMBER + 3 * 86_400, 1799)
    met, backwards = Windows(dimension), Windows(dimension)
    apart = [Windows(dimension).key(instant) for instant in instants]

    assert [met.key(instant) for instant in instants] == apart
    assert [backwards.key(instant) for instant in reversed(instants)] == apart[::-1]
    assert [met.key(instant) for instant in instants] == apart
    assert len(set(apart)) > 1


def test_instants_out_of_bounds_have_no_key_on_repeated_lookups() -> None:
    windows = Windows(DAYS)

    assert [windows.key(instant) for instant in (0, 0, 10**15, -(10**15), NOVEMBER + 86_400)] == [
        *(None, None, None, None),
        "2013-11-02",
    ]
