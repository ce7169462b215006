"""Manual invalidations: validated synchronously, and idempotent if the event has an id."""

from dataclasses import dataclass
from uuid import UUID, uuid4

from engine.errors import InvalidInput
from engine.flow.ingestion.ingest import ingest
from engine.flow.ingestion.resolve import resolve
from engine.flow.shared.org_context import OrgContext
from engine.model.event import MANUAL, Batch, Delivery, Received, SourceEvent
from engine.store.database import Connection
from engine.store.rows.invalidations import InvalidationId
from engine.store.run import fetch

_RESERVED = "http/"
"""Begins the keys of messages received over HTTP."""


@dataclass(frozen=True, slots=True)
class Requested:
    """The invalidations of a request; ``is_new`` is false if an earlier request created them."""

    invalidations: tuple[UUID, ...]
    is_new: bool


async def invalidate(
    conn: Connection, org: OrgContext, event: SourceEvent, by: str | None = None
) -> Requested:
    """Invalidate the scope of an event; ``event.id`` is the optional idempotency key.

    ``by`` is recorded as the user who requested it. Raises InvalidInput if the event names an
    unknown dataset, partition or column, and IdempotencyConflict if an earlier request with
    different content used the key. No dead letter is written, because the caller receives the
    error.
    """
    key = event.id
    if key is not None and key.startswith(_RESERVED):
        raise InvalidInput(f"an idempotency key does not begin with {_RESERVED!r}: use another")
    position = key or uuid4().hex
    received = Received.one(event, Delivery(MANUAL, position), by)
    async with conn.transaction():
        resolve(await org.lineage(conn), received)
        written = await ingest(conn, org, Batch(consumer=MANUAL, received=(received,)))
        if written.rejections:
            raise InvalidInput(written.rejections[0].error)
        if written.invalidations or key is None:
            return Requested(written.invalidations, is_new=True)
        rows = await fetch(conn, "invalidations.by_key", InvalidationId, org_id=org.id, key=key)
    return Requested(tuple(row.id for row in rows), is_new=False)
