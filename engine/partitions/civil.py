"""Dates as days and months since January 1970, for any integer, and as texts of keys."""

from __future__ import annotations

import re
from datetime import date

EPOCH = date(1970, 1, 1).toordinal()
YEARS = range(1000, 9999)
"""Years permitted in keys."""

CYCLE_DAYS = 146_097
"""Days after which the Gregorian calendar repeats: 400 years."""
_CYCLE_MONTHS = 4800


def match_key(pattern: re.Pattern[str], key: str) -> tuple[str, ...]:
    """Return the groups of the pattern in a key; raises ValueError if the key does not match."""
    match = pattern.fullmatch(key)
    if not match:
        raise ValueError("malformed")
    return match.groups()


def year_of(text: str) -> int:
    """Parse a year; raises ValueError outside `YEARS`."""
    if int(text) not in YEARS:
        raise ValueError(f"years run from {YEARS[0]} to {YEARS[-1]}")
    return int(text)


def days_of(text: str) -> int:
    """Return days from 1970-01-01 to a date like 2013-02-13; raises ValueError for other texts."""
    # fromisoformat accepts other forms, none of which has both dashes.
    if len(text) != 10 or text[4] != "-" or text[7] != "-":
        raise ValueError("malformed")
    year_of(text[:4])
    return date.fromisoformat(text).toordinal() - EPOCH


def date_of(days: int) -> date:
    """Return the date; raises ValueError or OverflowError outside the range of `date`."""
    return date.fromordinal(days + EPOCH)


def month_of(days: int) -> int:
    """Return months from January 1970 to the month of the day, for any integer."""
    cycles, days = divmod(days, CYCLE_DAYS)
    day = date_of(days)
    return cycles * _CYCLE_MONTHS + (day.year - 1970) * 12 + day.month - 1


def first_day(months: int) -> int:
    """Return days from 1970-01-01 to the first of the month, for any integer."""
    cycles, months = divmod(months, _CYCLE_MONTHS)
    day = date(1970 + months // 12, months % 12 + 1, 1)
    return cycles * CYCLE_DAYS + day.toordinal() - EPOCH
