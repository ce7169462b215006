"""Rows of `sources.sql`, `schedule.sql` and `positions.sql`."""

from datetime import datetime
from typing import Any

import msgspec


class SourceFeed(msgspec.Struct, frozen=True):
    """The source of a source job, and what is known of its datasets, by name."""

    source: dict[str, Any]
    datasets: list[str]
    known: dict[str, Any]


class ScheduledSource(msgspec.Struct, frozen=True):
    """A scheduled source; ``position`` is the time it last fired, or the deploy of its schedule.

    ``position`` is null for a schedule deployed by an earlier release that has never fired.
    """

    dataset: str
    source: dict[str, Any]
    position: str | None
    since: datetime
    now: datetime


class StoredPosition(msgspec.Struct, frozen=True):
    """The position of a consumer in a stream."""

    stream: str
    position: str


class PositionRow(msgspec.Struct, frozen=True):
    """The position of a consumer in a stream, with the lag reported last, and the current time."""

    consumer: str
    stream: str
    position: str
    updated_at: datetime
    lag: int | None
    lag_seconds: float | None
    lag_at: datetime | None
    now: datetime
