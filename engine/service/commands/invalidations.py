"""Manual invalidations, and replays of those that were set aside."""

from collections.abc import Sequence
from uuid import UUID

from consumers import manual
from consumers.manual import Requested
from engine.flow.planning.set_aside import replay as replay_set_aside
from engine.model.event import SourceEvent
from engine.service.caller import Caller, Role, requires
from engine.service.ids import invalidation_id
from engine.service.service import Service

__all__ = ["Requested", "invalidate", "replay", "replay_all"]


@requires(Role.WRITER)
async def invalidate(caller: Caller, service: Service, event: SourceEvent) -> Requested:
    """Invalidate a part of a dataset; ``event.id`` is the idempotency key, if there is one.

    Raises InvalidInput if the event names something unknown, or if its key belongs to another
    request.
    """
    async with service.transaction(caller) as (conn, org):
        return await manual.invalidate(conn, org, event)


@requires(Role.WRITER)
async def replay(
    caller: Caller, service: Service, ids: Sequence[str], *, whole: bool = False
) -> list[UUID]:
    """Plan invalidations again that were set aside; ``whole`` widens each to its whole dataset.

    Returns the ids of those replayed. Raises InvalidInput, UnknownName.
    """
    async with service.transaction(caller) as (conn, org):
        found = [await invalidation_id(conn, org, each) for each in ids]
        return await replay_set_aside(conn, org, found, whole=whole)


@requires(Role.WRITER)
async def replay_all(caller: Caller, service: Service, *, whole: bool = False) -> list[UUID]:
    """Plan all invalidations of the org again that are set aside; return their ids."""
    async with service.transaction(caller) as (conn, org):
        return await replay_set_aside(conn, org, None, whole=whole)
