"""The times of cron expressions, above all around clock changes."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import islice
from zoneinfo import ZoneInfo

import pytest

from engine.model.cron import next_time, previous_time, previous_times

NEW_YORK, BERLIN = "America/New_York", "Europe/Berlin"


def fired(cron: str, zone: str, start: datetime, hours: int) -> list[str]:
    """Return the UTC firing times of a schedule that is checked every five minutes."""
    return list(_fired(cron, ZoneInfo(zone), start, start + timedelta(hours=hours)))


def _fired(cron: str, zone: ZoneInfo, start: datetime, end: datetime) -> Iterator[str]:
    now = last = start
    while now < end:
        time = previous_time(cron, now.astimezone(zone))
        assert time is not None
        if time > last:
            last = time
            yield f"{time:%Y-%m-%dT%H:%M}"
        now += timedelta(minutes=5)


@pytest.mark.parametrize(
    ("cron", "zone", "start", "times"),
    [
        ("30 1 * * *", NEW_YORK, datetime(2026, 11, 1, 4, tzinfo=UTC), ["2026-11-01T05:30"]),
        ("30 2 * * *", BERLIN, datetime(2026, 10, 24, 23, tzinfo=UTC), ["2026-10-25T00:30"]),
    ],
)
def test_a_fixed_time_repeated_by_the_clock_fires_once(
    cron: str, zone: str, start: datetime, times: list[str]
) -> None:
    assert fired(cron, zone, start, 20) == times


def test_a_fixed_time_skipped_by_the_clock_fires_after_the_gap() -> None:
    start = datetime(2026, 3, 29, 0, tzinfo=UTC)
    assert fired("30 2 * * *", BERLIN, start, 20) == ["2026-03-29T01:00"]


def test_an_hourly_time_fires_in_the_repeated_hour_too() -> None:
    start = datetime(2026, 10, 24, 23, 45, tzinfo=UTC)
    times = ["2026-10-25T00:30", "2026-10-25T01:30", "2026-10-25T02:30"]
    assert fired("30 * * * *", BERLIN, start, 3) == times


@pytest.mark.parametrize("cron", ["0 2 * *", "0 0 2 * * *", "61 * * * *", "0 0 31 2 *", "@daily"])
def test_a_malformed_expression_or_one_without_a_date_is_rejected(cron: str) -> None:
    with pytest.raises(ValueError, match=r"fields|Bad"):
        previous_time(cron, datetime(2026, 1, 1, tzinfo=UTC))


@pytest.mark.parametrize("minute", [*range(-90, 150, 10)])
@pytest.mark.parametrize("cron", ["30 2 * * *", "5 3 * * *", "15 2,3 * * *"])
def test_the_previous_time_never_goes_back_when_the_clock_does(cron: str, minute: int) -> None:
    zone = ZoneInfo(BERLIN)
    now = datetime(2026, 10, 25, 1, 0, 30, tzinfo=UTC) + timedelta(minutes=minute)
    times = [
        previous_time(cron, (now - timedelta(minutes=ago)).astimezone(zone)) for ago in (0, 10)
    ]
    assert times[0] >= times[1]
    assert times[0] <= now


@pytest.mark.parametrize(
    ("cron", "now", "time"),
    [
        ("30 2 * * *", "2026-10-25T00:29:30", "2026-10-24T00:30"),
        ("30 2 * * *", "2026-10-25T00:30:30", "2026-10-25T00:30"),
        ("30 2 * * *", "2026-10-25T01:10:00", "2026-10-25T00:30"),
        ("5 3 * * *", "2026-10-25T01:50:00", "2026-10-24T01:05"),
        ("5 3 * * *", "2026-10-25T02:05:01", "2026-10-25T02:05"),
        ("*/20 * * * *", "2026-10-25T01:10:00", "2026-10-25T01:00"),
        ("*/20 * * * *", "2026-10-25T00:59:59", "2026-10-25T00:40"),
    ],
)
def test_a_time_of_the_first_pass_through_the_repeated_hour_is_previous_in_the_second(
    cron: str, now: str, time: str
) -> None:
    local = datetime.fromisoformat(now).replace(tzinfo=UTC).astimezone(ZoneInfo(BERLIN))
    found = previous_time(cron, local)
    assert found is not None
    assert f"{found:%Y-%m-%dT%H:%M}" == time


@pytest.mark.parametrize("cron", ["30 1 * * *", "30 2 * * *", "30 * * * *", "*/20 1-3 * * *"])
@pytest.mark.parametrize(("month", "day"), [(3, 29), (10, 25)])
@pytest.mark.parametrize("minutes", range(-30, 330, 10))
def test_the_next_time_is_the_first_of_the_later_previous_times(
    cron: str, month: int, day: int, minutes: int
) -> None:
    since = datetime(2026, month, day, tzinfo=UTC) - timedelta(hours=1) + timedelta(minutes=minutes)
    now = (since + timedelta(days=2)).astimezone(ZoneInfo(BERLIN))
    later = [time for time in islice(previous_times(cron, now), 1000) if time > since]
    assert next_time(cron, since.astimezone(ZoneInfo(BERLIN))) == later[-1]
