"""Cron expressions with five fields, evaluated as by Debian's cron.

An expression with a fixed hour and minute fires once when clocks are set back, and right after the
gap when clocks are set forward over its time. Expressions with an hour or minute starting with
``*`` follow elapsed time.
"""

from datetime import UTC, datetime

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
        time = next(CronSim(expression, now, reverse=True), None)
    except CronSimError as error:
        raise ValueError(str(error)) from None
    return None if time is None else time.astimezone(UTC)
