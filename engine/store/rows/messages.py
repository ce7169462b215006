"""Rows of `messages.sql`."""

from uuid import UUID

import msgspec


class ClaimedMessage(msgspec.Struct, frozen=True):
    """A message that is received for the first time."""

    key: str


class ReceivedMessage(msgspec.Struct, frozen=True):
    """A message that was received before."""

    key: str
    request_hash: str | None
    invalidation_ids: list[UUID]


class RejectedMessage(msgspec.Struct, frozen=True):
    """A message that is an open dead letter."""

    position: str
    error: str
