"""Partitions by time: one key per window of a grain in a time zone."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any, ClassVar

from engine.errors import InvalidPartition
from engine.partitions.calendar import Calendar
from engine.partitions.civil import YEARS
from engine.partitions.dimension import OrderedDimension
from engine.partitions.grains import calendar, is_cron, is_step
from engine.partitions.intervals import NEG, POS, Intervals

_FIRST, _END = str(YEARS[0]), str(YEARS[-1] + 1)
"""Limits of keys as texts, because each key begins with a year of four digits."""


@dataclass(frozen=True, slots=True)
class TimeDimension(OrderedDimension):
    """Windows of a `grain` in an IANA `zone`.

    The grain is hour, day, week, month, quarter, year, a step such as `15m` or `4h`, or a cron
    expression. `starts_on` is the first day of weeks, and `starts_at` the time of day at which
    windows start; None is Monday and midnight. `start` and `end` are keys, half-open; None is an
    open end. The calendar defines the keys.
    """

    kind: ClassVar[str] = "time"

    grain: str
    zone: str = "UTC"
    start: str | None = None
    end: str | None = None
    column: str | None = field(default=None, compare=False)
    starts_on: str | None = None
    starts_at: str | None = None
    calendar: Calendar = field(init=False, repr=False, compare=False)
    _universe: Intervals = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        grid = calendar(self.grain, self.zone, self.starts_on, self.starts_at)
        object.__setattr__(self, "calendar", grid)
        lo = NEG if self.start is None else self.ordinal(self.start, "start")
        hi = POS if self.end is None else self.ordinal(self.end, "end")
        universe = Intervals.of([(lo, hi)]) - self.calendar.skipped
        if not universe:
            raise InvalidPartition(
                f"no {self._noun} is in [{self.start}, {self.end}); move the end past the start"
            )
        object.__setattr__(self, "_universe", universe)

    @property
    def label(self) -> str:
        """The grid without its zone: `day`, `week from sunday 06:00`, `15m`."""
        start = " ".join(filter(None, (self.starts_on, self.starts_at)))
        return f"{self.grain} from {start}" if start else self.grain

    def unlimited(self) -> TimeDimension:
        """See `Dimension`."""
        return replace(self, start=None, end=None)

    @property
    def universe(self) -> Intervals:
        """See `Dimension`."""
        return self._universe

    @property
    def grid(self) -> tuple[Any, ...]:
        """See `OrderedDimension`."""
        return self.kind, self.grain, self.zone, self.starts_on, self.starts_at

    def ordinal(self, key: str, where: str) -> int:
        """See `OrderedDimension`."""
        try:
            return self.calendar.parse(key)
        except ValueError as error:
            raise InvalidPartition(
                f"{where}: {key!r} is not a {self._noun} in {self.zone} ({error}); "
                f"write one like {self.calendar.example}"
            ) from error

    def format(self, position: int) -> str:
        """See `Dimension`; raises InvalidPartition outside the years permitted in keys."""
        try:
            key = self.calendar.format(position)
        except (ValueError, OverflowError) as error:
            raise self._without_key(position, str(error)) from error
        if not _FIRST <= key < _END:
            raise self._without_key(position, f"years run from {YEARS[0]} to {YEARS[-1]}")
        return key

    def _without_key(self, position: int, why: str) -> InvalidPartition:
        return InvalidPartition(
            f"{self._noun} number {position} has no key ({why}); bound the dimension"
        )

    def windows(self, ordinals: Intervals) -> Intervals:
        """See `OrderedDimension`."""
        return self.calendar.windows(ordinals)

    def overlapping(self, windows: Intervals) -> Intervals:
        """See `OrderedDimension`."""
        return self.calendar.overlapping(windows)

    def containing(self, windows: Intervals, other: TimeDimension, among: Intervals) -> Intervals:
        """Return the ordinals in ``among`` whose windows contain a whole window of another grid.

        ``windows`` are ordinals of the other grid.
        """
        candidates = list(self.overlapping(other.windows(windows)) & among)
        starts = self.calendar.starts(candidates)
        ends = self.calendar.starts([ordinal + 1 for ordinal in candidates])
        firsts = [before + 1 for before in other.calendar.at([start - 1 for start in starts])]
        spans = zip(candidates, firsts, other.calendar.at(ends), strict=True)
        return Intervals.of(
            (ordinal, ordinal + 1)
            for ordinal, first, end in spans
            if first < end and windows & Intervals(((first, end),))
        )

    def window(self, key: str, where: str = "partition") -> tuple[datetime, datetime]:
        """Return the half-open window of a key in UTC, so that `end - start` is the duration."""
        ordinal = self._within(key, where)
        start, end = self.calendar.starts([ordinal, ordinal + 1])
        return datetime.fromtimestamp(start, UTC), datetime.fromtimestamp(end, UTC)

    def to_spec(self) -> dict[str, Any]:
        """See `Dimension`."""
        zone = None if self.zone == "UTC" else self.zone
        return {
            self._form: self.grain,
            "zone": zone,
            "starts_on": self.starts_on,
            "starts_at": self.starts_at,
            "start": self.start,
            "end": self.end,
        }

    @property
    def _noun(self) -> str:
        """A window, in messages."""
        return self.label if self._form == "time" else f"window of {self.label!r}"

    @property
    def _form(self) -> str:
        """The key of the grain in a spec."""
        if is_cron(self.grain):
            return "cron"
        return "every" if is_step(self.grain) and self.grain != "hour" else "time"
