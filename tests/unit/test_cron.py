"""The times of cron expressions, above all around clock changes."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from engine.model.cron import previous_time

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
