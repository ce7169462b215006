"""Manual invalidations: validated synchronously, and idempotent if the event has an id."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from uuid import UUID, uuid4

from engine.errors import InvalidInput, KnockonError
from engine.flow.ingestion.ingest import ingest
from engine.flow.ingestion.resolve import resolve
from engine.flow.shared.org_context import OrgContext
from engine.lineage.graph import Lineage
from engine.model.event import MANUAL, Batch, Delivery, Received, SourceEvent
from engine.store.database import Connection
from engine.store.rows.invalidations import UsedKey
from engine.store.run import fetch

_RESERVED = "http/"
"""Begins the keys of messages received over HTTP."""


@dataclass(frozen=True, slots=True)
class Request:
    """A requested invalidation of the scope of an event.

    ``event.id`` is the optional idempotency key. ``by`` is recorded as the user who requested it.
    ``position`` identifies the request.
    """

    event: SourceEvent
    by: str | None = None
    position: str = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "position", self.event.id or uuid4().hex)

    @property
    def received(self) -> Received:
        """The event as if it had been received from a stream."""
        return Received.one(self.event, Delivery(MANUAL, self.position), self.by)


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
    (requested,) = await invalidate_all(conn, org, [Request(event, by)])
    if isinstance(requested, KnockonError):
        raise requested
    return requested


async def invalidate_all(
    conn: Connection, org: OrgContext, requests: Sequence[Request]
) -> list[Requested | KnockonError]:
    """Invalidate the scopes of requests in one transaction; see `invalidate`.

    The requests have different keys. Returns the error of a request that names something unknown.
    Any other error is raised, and nothing is written.
    """
    async with conn.transaction():
        lineage = await org.lineage(conn)
        errors = {request.position: _error(lineage, request) for request in requests}
        valid = [request for request in requests if errors[request.position] is None]
        written = await _written(conn, org, valid) if valid else {}
    return [errors[request.position] or written[request.position] for request in requests]


def _error(lineage: Lineage, request: Request) -> KnockonError | None:
    if request.event.id is not None and request.event.id.startswith(_RESERVED):
        return InvalidInput(f"an idempotency key does not begin with {_RESERVED!r}: use another")
    try:
        resolve(lineage, request.received)
    except InvalidInput as error:
        return error
    return None


async def _written(
    conn: Connection, org: OrgContext, requests: Sequence[Request]
) -> Mapping[str, Requested]:
    """Write valid requests; return their results by position."""
    received = tuple(request.received for request in requests)
    written = await ingest(conn, org, Batch(consumer=MANUAL, received=received))
    if written.rejections:
        raise InvalidInput(written.rejections[0].error)
    results = {
        position: Requested(ids, is_new=True) for position, ids in written.by_request.items()
    }
    keys = [request.position for request in requests if request.position not in results]
    if keys:
        rows = await fetch(conn, "invalidations.by_keys", UsedKey, org_id=org.id, keys=keys)
        results |= {row.key: Requested(tuple(row.invalidations), is_new=False) for row in rows}
    return results
