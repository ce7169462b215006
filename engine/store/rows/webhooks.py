"""Rows of `webhooks.sql`."""

from datetime import datetime
from uuid import UUID

import msgspec

from engine.model.states import EventKind, Receiver


class DueWebhook(msgspec.Struct, frozen=True):
    """A webhook with events to be sent after a position of the feed."""

    id: UUID
    name: str
    url: str
    secret: str
    kinds: list[EventKind]
    position: int
    failures: int
    receiver: Receiver
    org: str


class WebhookRow(msgspec.Struct, frozen=True):
    """A webhook without its secret; ``failures`` are those since the last delivery.

    A ``url`` of Apprise contains secrets, and is masked for users.
    """

    id: UUID
    name: str
    url: str
    kinds: list[EventKind]
    created_at: datetime
    created_by: str | None
    failures: int
    next_attempt_at: datetime
    delivered_at: datetime | None
    last_error: str | None
    receiver: Receiver


class RemovedWebhook(msgspec.Struct, frozen=True):
    """The URL of a removed webhook."""

    url: str
    receiver: Receiver
