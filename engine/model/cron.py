"""Cron expressions with five fields, evaluated as by Debian's cron.

An expression with a fixed hour and minute fires once when clocks are set back, and right after the
gap when clocks are set forward over its time. Expressions with an hour or minute starting with
``*`` follow elapsed time.
"""

from datetime import UTC, datetime, timedelta

from cronsim import CronSim, CronSimError

_FIELDS = 5


def previous_time(expression: str, now: datetime) -> datetime | None:
    """Return the last time before ``now`` in UTC, or None if there is none.

    The expression is evaluated in the time zone of ``now``. Raises ValueError if the expression is
    malformed or names no existing date.
    """
    fields = len(expression.split())
    if fields != _FIELDS:
        raise ValueError(f"{fields} fields instead of {_FIELDS}")
    try:
        times = CronSim(expression, now + _repeated(now), reverse=True)
    except CronSimError as error:
        raise ValueError(str(error)) from None
    in_utc = (time.astimezone(UTC) for time in times)
    return next((time for time in in_utc if time < now), None)


def _repeated(now: datetime) -> timedelta:
    """Return the length of the wall time that the clock repeats, if ``now`` is in it, else zero.

    Fixed times count in the first pass only, so in the second one they are all previous, also
    those of a later wall time than ``now``.
    """
    first, second = (now.replace(fold=fold).utcoffset() for fold in (0, 1))
    return (first or timedelta()) - (second or timedelta())
