"""Time windows by plain datetime arithmetic, sharing no code with the engine."""

import itertools
from collections.abc import Callable
from datetime import UTC, date, datetime, time, timedelta
from functools import cache
from typing import NamedTuple
from zoneinfo import ZoneInfo

from cronsim import CronSim

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
    "Antarctica/Troll": date(2013, 10, 27),  # two hours are repeated
}

GRIDS = {
    "week from sunday": {"time": "week", "starts_on": "sunday"},
    "week from thursday 18:30": {"time": "week", "starts_on": "thursday", "starts_at": "18:30"},
    "day from 06:00": {"time": "day", "starts_at": "06:00"},
    "day from 01:30": {"time": "day", "starts_at": "01:30"},
    "month from 02:00": {"time": "month", "starts_at": "02:00"},
    "15m": {"every": "15m"},
    "90m": {"every": "90m"},
    "2h from 00:30": {"every": "2h", "starts_at": "00:30"},
    "4h": {"every": "4h"},
    "8h from 06:00": {"every": "8h", "starts_at": "06:00"},
    "0 0 1,15 * *": {"cron": "0 0 1,15 * *"},
    "30 1 * * 1-5": {"cron": "30 1 * * 1-5"},
    "45 6,18 * * *": {"cron": "45 6,18 * * *"},
    "*/15 0-5 * * *": {"cron": "*/15 0-5 * * *"},
    "0 2 L * *": {"cron": "0 2 L * *"},
}
"""Specs of grids other than the plain grains."""


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
    spec = GRIDS.get(grain, {})
    if grain == "hour":
        return _steps(zone, around, timedelta(hours=1), timedelta())
    if "every" in spec:
        return _steps(zone, around, _length(spec["every"]), _time_of_day(spec))
    if spec:
        return _between(_times(spec, around), zone, is_cron="cron" in spec)
    key = _KEYS[grain]
    firsts = [(day, text) for day in _days(around, _REACH[grain]) if (text := key(day))]
    return [
        Window(text, midnight(day, zone), midnight(after, zone))
        for (day, text), (after, _) in itertools.pairwise(firsts)
    ]


_MIDNIGHT = datetime.combine(date(2000, 1, 1), time.min)


def spec_of(grain: str) -> dict[str, str]:
    """Return the spec of a plain grain, or of one in `GRIDS`."""
    return GRIDS.get(grain, {"time": grain})


def _length(step: str) -> timedelta:
    return timedelta(minutes=int(step[:-1]) * (60 if step.endswith("h") else 1))


def _time_of_day(spec: dict[str, str]) -> timedelta:
    hour, minute = map(int, spec.get("starts_at", "00:00").split(":"))
    return timedelta(hours=hour, minutes=minute)


def _steps(zone: str, around: date, step: timedelta, phase: timedelta) -> list[Window]:
    """Walk the clock by quarter hours; a step starts on time or at a clock change."""
    starts: list[tuple[str, datetime]] = []
    seen: set[str] = set()
    instant = midnight(around - timedelta(days=3), zone)
    shown = None
    pattern = "%Y-%m-%dT%H:%M" if (step + phase) % timedelta(hours=1) else "%Y-%m-%dT%H"
    for _ in range(6 * 24 * 4):
        local = instant.astimezone(ZoneInfo(zone))
        into = (local.replace(tzinfo=None) - _MIDNIGHT - phase) % step
        reading = (local.replace(tzinfo=None) - into).strftime(pattern)
        # The first step may have started before the walk.
        if (starts and reading != shown) or not into:
            starts.append((reading + local.strftime("%z") if reading in seen else reading, instant))
        seen.add(reading)
        shown = reading
        instant += QUARTER_HOUR
    return [Window(key, start, end) for (key, start), (_, end) in itertools.pairwise(starts)]


def _times(spec: dict[str, str], around: date) -> list[tuple[str, datetime]]:
    """Return the local times at which windows start, with their keys."""
    if "cron" in spec:
        return _cron_times(spec["cron"], around)
    first = {
        "day": lambda _: True,
        "week": lambda d: f"{d:%A}".lower() == spec.get("starts_on", "monday"),
        "month": lambda d: d.day == 1,
    }[spec["time"]]
    pattern = "%Y-%m" if spec["time"] == "month" else "%Y-%m-%d"
    midnights = (_midnight(day) for day in _days(around, _REACH[spec["time"]]))
    return [(d.strftime(pattern), d + _time_of_day(spec)) for d in midnights if first(d)]


def _midnight(day: date) -> datetime:
    return datetime.combine(day, time.min)


def _cron_times(expression: str, around: date) -> list[tuple[str, datetime]]:
    """Enumerate times without a time zone, so that no clock changes."""
    start = _midnight(around)
    is_dense = len(expression.split()[1]) > 1 and expression.endswith("* * *")
    reach = timedelta(days=8 if is_dense else 300)
    every = itertools.takewhile(lambda t: t < start + reach, CronSim(expression, start - reach))
    times = list(every)
    pattern = "%Y-%m-%d" if len({at.time() for at in times}) == 1 else "%Y-%m-%dT%H:%M"
    return [(at.strftime(pattern), at) for at in times]


def _between(times: list[tuple[str, datetime]], zone: str, *, is_cron: bool) -> list[Window]:
    starts = [(key, _reached(at, zone)) for key, at in times]
    found = [Window(key, start, end) for (key, start), (_, end) in itertools.pairwise(starts)]
    # Skipped times of an expression are not on the grid, unlike skipped days.
    return [window for window in found if not is_cron or window.start < window.end]


def _reached(at: datetime, zone: str) -> datetime:
    """Return the first instant at which the clock shows a time or a later one."""
    instant = at.replace(tzinfo=UTC) - timedelta(hours=15)
    while instant.astimezone(ZoneInfo(zone)).replace(tzinfo=None) < at:
        instant += QUARTER_HOUR
    return instant
