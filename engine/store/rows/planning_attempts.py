"""Rows of `planning_attempts.sql`."""

from uuid import UUID

import msgspec


class NextBatch(msgspec.Struct, frozen=True):
    """The next batch, from ``oldest`` to ``newest``, and the previous attempts.

    ``tried`` is the first invalidation of the last attempt, null if there was none. ``tried_to`` is
    the last invalidation of that attempt, if it was an attempt at the same batch.
    """

    oldest: UUID
    newest: UUID
    size: int
    tried: UUID | None
    suspects_to: UUID
    batch_limit: int
    attempts: int
    tried_to: UUID


class TerminatedSession(msgspec.Struct, frozen=True):
    """A session of the server, with the address of its client; False if it had ended already."""

    pid: int
    host: str
    is_ended: bool
