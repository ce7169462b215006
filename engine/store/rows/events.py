"""Rows of the statements in `sql/queries/events.sql`."""

from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec

from engine.model.states import EventKind


class PublisherLock(msgspec.Struct, frozen=True):
    """Whether this transaction may assign positions, and whether there are events without one."""

    is_held: bool
    has_pending: bool


class ExpiredEvents(msgspec.Struct, frozen=True):
    """The last position removed from an org's events."""

    position: int


class NewestPosition(msgspec.Struct, frozen=True):
    """The position of the newest event of an org."""

    position: int


class FeedEvent(msgspec.Struct, frozen=True):
    """An event. ``subject_id`` is the task, plan, dataset, dead letter or DAG version."""

    position: int
    id: UUID
    kind: EventKind
    occurred_at: datetime
    dag_name: str | None
    job_name: str | None
    subject_id: UUID
    detail: dict[str, Any]
