"""Rows of `dead_letters.sql`, and of dead letters in `views.sql`."""

from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec


class DeadLetterId(msgspec.Struct, frozen=True):
    """A dead letter."""

    id: UUID


class Stream(msgspec.Struct, frozen=True):
    """A stream of messages."""

    stream: str


class LockedLetter(msgspec.Struct, frozen=True):
    """A locked dead letter, with all that is needed to read it again."""

    id: UUID
    consumer: str
    stream: str
    position: str
    payload: bytes | None
    headers: dict[str, Any]
    error: str
    is_loss: bool


class DeadLetterRow(msgspec.Struct, frozen=True):
    """A dead letter with its history."""

    id: UUID
    consumer: str
    stream: str
    position: str
    payload: bytes | None
    headers: dict[str, Any]
    error: str
    created_at: datetime
    replayed_at: datetime | None
    is_loss: bool
    closed_at: datetime | None
    closed_by: str | None
    close_reason: str | None
