"""A manual invalidation: checked while the caller waits, and made once however often it is sent."""

from dataclasses import dataclass
from uuid import UUID, uuid4

from engine.errors import InvalidInput
from engine.flow.ingest import ingest
from engine.flow.resolve import resolve
from engine.flow.scene import Scene
from engine.model.event import MANUAL, Batch, Delivery, Received, SourceEvent
from engine.store.database import Connection
from engine.store.run import fetch


@dataclass(frozen=True, slots=True)
class Requested:
    """The invalidations that stand for a request; ``is_new`` is false where it came before."""

    invalidations: tuple[UUID, ...]
    is_new: bool


async def invalidate(conn: Connection, scene: Scene, event: SourceEvent) -> Requested:
    """Write down that a scope is stale; ``event.id`` is the idempotency key, if there is one.

    Raises InvalidInput at once where the event names what is not there, or where its key was used
    with a different request; the caller gets the error, so there is no dead letter.
    """
    key = event.id
    position = key or uuid4().hex
    received = Received.one(event, Delivery(MANUAL, position))
    async with conn.transaction():
        resolve(await scene.lineage(conn), received)
        written = await ingest(conn, scene, Batch(consumer=MANUAL, received=(received,)))
        if written.rejections:
            raise InvalidInput(written.rejections[0].error)
        if written.invalidations or key is None:
            return Requested(written.invalidations, is_new=True)
        rows = await fetch(conn, "invalidations.by_key", org_id=scene.org_id, key=key)
    return Requested(tuple(row["id"] for row in rows), is_new=False)
