"""Cron expressions of five fields, with the times that Debian's cron gives them.

Where clocks are set back, an expression with a fixed hour and minute fires once; where they are set
forward over its time, it fires right after the gap. Expressions whose hour or minute starts with
``*`` follow elapsed time.
"""

from datetime import UTC, datetime

from cronsim import CronSim, CronSimError

_FIELDS = 5


def previous_time(expression: str, now: datetime) -> datetime | None:
    """Return the last time before ``now`` by the clock of its zone, in UTC; None if there is none.

    Raises ValueError where the expression is malformed, or names no date that exists.
    """
    fields = len(expression.split())
    if fields != _FIELDS:
        raise ValueError(f"{fields} fields instead of {_FIELDS}")
    try:
        time = next(CronSim(expression, now, reverse=True), None)
    except CronSimError as error:
        raise ValueError(str(error)) from None
    return None if time is None else time.astimezone(UTC)
