"""Time windows by plain datetime arithmetic, sharing no code with the engine."""

import itertools
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from functools import cache
from typing import NamedTuple
from zoneinfo import ZoneInfo

QUARTER_HOUR = timedelta(minutes=15)

ANCHORS = {
    "UTC": date(2013, 12, 31),
    "America/New_York": date(2013, 3, 10),
    "Europe/Berlin": date(2013, 10, 27),
    "Asia/Kolkata": date(2013, 2, 28),
    "Australia/Lord_Howe": date(2013, 4, 7),
    "America/Sao_Paulo": date(2013, 10, 20),  # its midnight is skipped
    "America/Havana": date(2013, 11, 3),
    "Pacific/Apia": date(2011, 12, 30),  # the whole day is skipped
}


class Window(NamedTuple):
    key: str
    start: datetime
    end: datetime

    def overlaps(self, other: "Window") -> bool:
        return max(self.start, other.start) < min(self.end, other.end)


def midnight(day: date, zone: str) -> datetime:
    return datetime(day.year, day.month, day.day, tzinfo=ZoneInfo(zone)).astimezone(UTC)


def _days(around: date, reach: int) -> list[date]:
    return [around + timedelta(days=n) for n in range(-reach, reach + 1)]


# The first day of each window, and its key: None if no window starts.
_KEYS: dict[str, Callable[[date], str | None]] = {
    "day": lambda d: d.isoformat(),
    "week": lambda d: d.strftime("%G-W%V") if d.weekday() == 0 else None,
    "month": lambda d: d.strftime("%Y-%m") if d.day == 1 else None,
    "quarter": lambda d: (
        f"{d.year}-Q{d.month // 3 + 1}" if d.day == 1 and d.month % 3 == 1 else None
    ),
    "year": lambda d: str(d.year) if (d.month, d.day) == (1, 1) else None,
}
_REACH = {"day": 40, "week": 150, "month": 300, "quarter": 900, "year": 2500}


@cache
def windows(grain: str, zone: str, around: date) -> list[Window]:
    """Every window around a day, in order; the window of a skipped day is empty."""
    if grain == "hour":
        return _hours(zone, around)
    key = _KEYS[grain]
    firsts = [(day, text) for day in _days(around, _REACH[grain]) if (text := key(day))]
    return [
        Window(text, midnight(day, zone), midnight(after, zone))
        for (day, text), (after, _) in itertools.pairwise(firsts)
    ]


def _hours(zone: str, around: date) -> list[Window]:
    """Walk the clock by quarter hours; an hour starts on the full hour or at a clock change."""
    starts: list[tuple[str, datetime]] = []
    seen: set[str] = set()
    instant = midnight(around - timedelta(days=3), zone)
    shown = None
    for _ in range(6 * 24 * 4):
        local = instant.astimezone(ZoneInfo(zone))
        reading = local.strftime("%Y-%m-%dT%H")
        if reading != shown or local.minute == 0:
            starts.append((reading + local.strftime("%z") if reading in seen else reading, instant))
        seen.add(reading)
        shown = reading
        instant += QUARTER_HOUR
    return [Window(key, start, end) for (key, start), (_, end) in itertools.pairwise(starts)]
