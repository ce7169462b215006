"""Dates as days and months since January 1970, for any integer, and as they stand in keys."""

from __future__ import annotations

import re
from datetime import date

EPOCH = date(1970, 1, 1).toordinal()
YEARS = range(1000, 9999)
"""The years that a key may name."""

_CYCLE_DAYS = 146_097  # the Gregorian calendar repeats every 400 years
_CYCLE_MONTHS = 4800


def match_key(pattern: re.Pattern[str], key: str) -> tuple[str, ...]:
    """The groups of a key of the pattern; raises ValueError when it is not one."""
    found = pattern.fullmatch(key)
    if not found:
        raise ValueError("not such a key")
    return found.groups()


def year_of(text: str) -> int:
    """The year; raises ValueError outside `YEARS`."""
    if int(text) not in YEARS:
        raise ValueError(f"years run from {YEARS[0]} to {YEARS[-1]}")
    return int(text)


def days_of(text: str) -> int:
    """Days from 1970-01-01 to a date in the form 2013-02-13; raises ValueError on another text."""
    # fromisoformat reads other forms as well, and neither of those has both dashes.
    if len(text) != 10 or text[4] != "-" or text[7] != "-":
        raise ValueError("not such a key")
    year_of(text[:4])
    return date.fromisoformat(text).toordinal() - EPOCH


def date_of(days: int) -> date:
    """The date; raises ValueError or OverflowError outside the years that `date` holds."""
    return date.fromordinal(days + EPOCH)


def month_of(days: int) -> int:
    """Months from January 1970 to the day's, for any integer."""
    cycles, days = divmod(days, _CYCLE_DAYS)
    day = date_of(days)
    return cycles * _CYCLE_MONTHS + (day.year - 1970) * 12 + day.month - 1


def first_day(months: int) -> int:
    """Days from 1970-01-01 to the first of the month, for any integer."""
    cycles, months = divmod(months, _CYCLE_MONTHS)
    day = date(1970 + months // 12, months % 12 + 1, 1)
    return cycles * _CYCLE_DAYS + day.toordinal() - EPOCH
