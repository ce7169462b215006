"""Row filters on times, compared row by row; no code is shared with the engine.

A row is an instant, or wall time without an offset. Where a text has several meanings in a zone,
for example on the day of a clock change, a row that meets any of them matches.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta, timezone
from functools import cache
from random import Random
from typing import Any
from zoneinfo import ZoneInfo

from tests.property.partitions.windows import ANCHORS, midnight, windows

ZONES = tuple(ANCHORS)
WITHOUT_CLOCK_CHANGES = ("UTC", "Asia/Kolkata")
GRAINS = ("hour", "day", "day", "week", "month")
_OFFSETS = [
    timezone(timedelta(minutes=60 * hours + 30 * (hours == 5))) for hours in (-10, 0, 5, 13)
]
_QUARTER = timedelta(minutes=15)
_LOWER, _UPPER = ("gt", "gte"), ("lt", "lte")
_COMPARE: Mapping[str, Callable[[datetime, datetime, datetime], bool]] = {
    "eq": lambda row, start, end: start <= row < end,
    "gt": lambda row, start, _: row > start,
    "gte": lambda row, start, _: row >= start,
    "lt": lambda row, start, _: row < start,
    "lte": lambda row, _, end: row < end,
}


@dataclass(frozen=True)
class Stored:
    """A dataset with a column of times, by which it may be partitioned: ``grain`` None if not."""

    grain: str | None
    zone: str
    anchor: str

    def spec(self) -> dict[str, Any]:
        if self.grain is None:
            return {}
        grid = windows(self.grain, self.zone, ANCHORS[self.anchor])
        bounds = {"start": grid[0].key, "end": grid[-1].key}
        return {"dt": {"time": self.grain, "zone": self.zone, "column": "at", **bounds}}

    @property
    def filter_zone(self) -> str:
        """Zone of wall time in a filter of the dataset."""
        return self.zone if self.grain else "UTC"

    def key(self, row: datetime) -> str | None:
        """The partition of a row; None for wall time of a skipped day."""
        return _key(self, row)


@cache
def _key(stored: Stored, row: datetime) -> str | None:
    if stored.grain is None:
        return "*"
    grid = windows(stored.grain, stored.zone, ANCHORS[stored.anchor])
    zone = ZoneInfo(stored.zone)
    if row.tzinfo:
        return next(w.key for w in grid if w.start <= row < w.end)
    if stored.grain == "hour":
        # The later of two equal hours, as in conditions on a column without a zone.
        (*_, last) = (w for w in grid if w.start.astimezone(zone).replace(tzinfo=None) <= row)
        return last.key
    noon = datetime.combine(row.date(), time(12), zone).astimezone(UTC)
    is_skipped = noon.astimezone(zone).date() != row.date()
    return None if is_skipped else next(w.key for w in grid if w.start <= noon < w.end)


@cache
def rows(anchor: str) -> tuple[list[datetime], list[datetime]]:
    """Instants around a day, and the same readings in UTC as wall time."""
    start = midnight(ANCHORS[anchor], anchor) - timedelta(days=2)
    quarters = [start + n * _QUARTER for n in range(4 * 96)]
    instants = [row for start in quarters for row in (start, start + timedelta(minutes=7))]
    return instants, [row.replace(tzinfo=None) for row in instants]


def random_filter(rng: Random, anchor: str) -> dict[str, Any]:
    """Conditions on the column ``at``, as in an event."""
    day = ANCHORS[anchor]
    match rng.randrange(4):
        case 0:
            return {"at": _text(rng, day)}
        case 1:
            return {"at": {"in": [_text(rng, day) for _ in range(2)]}}
        case 2:
            return {"at": {rng.choice(_LOWER + _UPPER): _text(rng, day)}}
        case _:
            ends = _text(rng, day - timedelta(days=1)), _text(rng, day + timedelta(days=1))
            return {"at": {rng.choice(_LOWER): ends[0], rng.choice(_UPPER): ends[1]}}


def _text(rng: Random, day: date) -> str:
    wall = datetime.combine(day, time()) + rng.randrange(-24, 120) * _QUARTER
    match rng.randrange(3):
        case 0:
            return wall.date().isoformat()
        case 1:
            return wall.isoformat()
        case _:
            return wall.replace(tzinfo=rng.choice(_OFFSETS)).isoformat()


def conditions(spec: dict[str, Any]) -> list[dict[str, Any]]:
    """The conditions of a filter, each as a filter."""
    condition = spec["at"]
    tests = condition.items() if isinstance(condition, dict) else [("in", [condition])]
    return [{"at": {name: value}} for name, value in tests]


def meets(spec: Mapping[str, Any], row: datetime, zone: str) -> bool:
    """Return True if a row of a dataset with this zone may meet all conditions."""
    condition = spec["at"]
    tests = condition if isinstance(condition, dict) else {"eq": condition}
    return all(
        any(
            _meets("eq" if name == "in" else name, text, row, ZoneInfo(zone))
            for text in (values if isinstance(values, list) else [values])
        )
        for name, values in tests.items()
    )


def _meets(name: str, text: str, row: datetime, zone: ZoneInfo) -> bool:
    start = datetime.fromisoformat(text)
    end = start + (timedelta(days=1) if len(text) == len("2013-02-13") else timedelta.resolution)
    test = _COMPARE[name]
    if start.tzinfo:
        return test(row, start, end) if row.tzinfo else test(row, *_local((start, end), zone))
    if row.tzinfo is None:
        return test(row, start, end)
    by_clock = test(*_local((row,), zone), start, end)
    return by_clock or any(
        test(row, start.replace(tzinfo=zone, fold=fold), end.replace(tzinfo=zone, fold=fold))
        for fold in (0, 1)
    )


def _local(moments: tuple[datetime, ...], zone: ZoneInfo) -> Iterator[datetime]:
    return (moment.astimezone(zone).replace(tzinfo=None) for moment in moments)
