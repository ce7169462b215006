"""Cron expressions with five fields, evaluated as by Debian's cron.

An expression with a fixed hour and minute fires once when clocks are set back, and right after the
gap when clocks are set forward over its time. Expressions with an hour or minute starting with
``*`` follow elapsed time.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta

from cronsim import CronSim, CronSimError

_FIELDS = 5
_SOME_TIME = datetime(2000, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class CronTimes:
    """An expression without a time zone: the same ``minutes`` of each matching day.

    ``is_day`` depends on the month, the day of the month and the day of the week.
    """

    minutes: tuple[int, ...]
    is_day: Callable[[date], bool]

    @staticmethod
    def parse(expression: str) -> "CronTimes":
        """Read an expression; raises ValueError if it is malformed or names no existing date."""
        if previous_time(expression, _SOME_TIME) is None:
            raise ValueError("it names no existing date")
        times = _simulation(expression, _SOME_TIME)
        minutes = (60 * hour + minute for hour in times.hours for minute in times.minutes)
        return CronTimes(
            tuple(sorted(minutes)), lambda day: day.month in times.months and times.match_day(day)
        )


def previous_time(expression: str, now: datetime) -> datetime | None:
    """Return the last time before ``now`` in UTC, or None if there is none.

    The expression is evaluated in the time zone of ``now``. Raises ValueError if the expression is
    malformed or names no existing date.
    """
    return next(previous_times(expression, now), None)


def previous_times(expression: str, now: datetime) -> Iterator[datetime]:
    """Yield the times before ``now`` in UTC, from the last to the first; see `previous_time`."""
    times = _simulation(expression, now + _repeated(now), reverse=True)
    in_utc = (time.astimezone(UTC) for time in times)
    return (time for time in in_utc if time < now)


def next_time(expression: str, since: datetime) -> datetime:
    """Return the first time after ``since`` in UTC; see `previous_time`."""
    times = (time.astimezone(UTC) for time in _simulation(expression, since))
    return next(time for time in times if time > since)


def _simulation(expression: str, start: datetime, *, reverse: bool = False) -> CronSim:
    fields = len(expression.split())
    if fields != _FIELDS:
        raise ValueError(f"{fields} fields instead of {_FIELDS}")
    try:
        return CronSim(expression, start, reverse=reverse)
    except CronSimError as error:
        raise ValueError(str(error)) from None


def _repeated(now: datetime) -> timedelta:
    """Return the length of the wall time that the clock repeats, if ``now`` is in it, else zero.

    Fixed times count in the first pass only, so in the second one they are all previous, also
    those of a later wall time than ``now``.
    """
    first, second = (now.replace(fold=fold).utcoffset() for fold in (0, 1))
    return (first or timedelta()) - (second or timedelta())
