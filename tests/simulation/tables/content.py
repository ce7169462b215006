"""Partitions as conditions on the columns of a table, and rows by partition."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import date, timedelta
from typing import Any

from tests.simulation.dimensions import Dimension, Key, Space

Row = tuple[Any, ...]


def quoted(name: str) -> str:
    """Quote an identifier."""
    return '"' + name.replace('"', '""') + '"'


def literal(text: str) -> str:
    """Quote a text, independent of the session's setting for backslashes."""
    return "E'" + text.replace("\\", "\\\\").replace("'", "''") + "'"


def first_day(d: Dimension, key: str) -> date:
    """Return the first day of a day, week or month."""
    if d.grain == "week":
        year, week = key.split("-W")
        return date.fromisocalendar(int(year), int(week), 1)
    return date.fromisoformat(key if d.grain == "day" else f"{key}-01")


def next_day(d: Dimension, key: str) -> date:
    """Return the first day after a day, week or month."""
    first = first_day(d, key)
    if d.grain == "month":
        return (first + timedelta(days=31)).replace(day=1)
    return first + timedelta(days={"day": 1, "week": 7}[d.grain])


def condition(space: Space, keys: Collection[Key]) -> str:
    """Return the condition for the rows of some partitions."""
    return " OR ".join(f"({_one(space, key)})" for key in sorted(keys)) or "FALSE"


def _one(space: Space, key: Key) -> str:
    return " AND ".join(_part(d, part) for d, part in zip(space, key, strict=True)) or "TRUE"


def _part(d: Dimension, part: str) -> str:
    column = quoted(d.name)
    if d.kind != "time":
        return f"{column} = {literal(part)}"
    return f"{column} >= '{first_day(d, part)}' AND {column} < '{next_day(d, part)}'"


def value(d: Dimension, part: str) -> str:
    """Return the partition column of a row, as added by the operator."""
    return f"date '{first_day(d, part)}'" if d.kind == "time" else f"CAST({literal(part)} AS text)"


def key_of(space: Space, row: Mapping[str, Any]) -> Key:
    """Return the partition of a row."""
    return tuple(_part_of(d, row[d.name]) for d in space)


def _part_of(d: Dimension, value: Any) -> str:
    if d.kind != "time":
        return str(value)
    return next(key for key in d.grid if first_day(d, key) <= value < next_day(d, key))
