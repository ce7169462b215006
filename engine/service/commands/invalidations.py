"""Manual invalidations, and replays of set-aside invalidations."""

from collections.abc import Sequence
from uuid import UUID

from consumers.manual import Request, Requested
from engine.flow.planning.set_aside import replay as replay_set_aside
from engine.model.event import SourceEvent
from engine.model.states import KeyScope, Role
from engine.service.caller import Caller, requires
from engine.service.ids import invalidation_id
from engine.service.manual_batches import Call, invalidate_together
from engine.service.service import Service

__all__ = ["Requested", "invalidate", "replay", "replay_all"]


@requires(Role.WRITER, scope=KeyScope.INGEST)
async def invalidate(caller: Caller, service: Service, event: SourceEvent) -> Requested:
    """Invalidate part of a dataset; ``event.id`` is an optional idempotency key.

    Raises InvalidInput if the event names something unknown, or the key belongs to another request,
    and TooManyEvents.
    """
    await service.admit_events(caller)
    call = Call(caller, Request(event, caller.user))
    return await service.batches(invalidate_together).add(caller.org.id, call)


@requires(Role.WRITER)
async def replay(
    caller: Caller, service: Service, ids: Sequence[str], *, whole: bool = False
) -> list[UUID]:
    """Plan set-aside invalidations again, with ``whole`` widened to whole datasets; return the ids.

    Raises InvalidInput, UnknownName.
    """
    async with service.transaction(caller) as (conn, org):
        visible = await service.visibility(caller, conn, org)
        invalidations = [await invalidation_id(conn, org, id_, visible) for id_ in ids]
        return await replay_set_aside(conn, org, invalidations, whole=whole)


@requires(Role.WRITER)
async def replay_all(caller: Caller, service: Service, *, whole: bool = False) -> list[UUID]:
    """Plan all set-aside invalidations of the org again; return the ids."""
    async with service.transaction(caller) as (conn, org):
        visible = await service.visibility(caller, conn, org)
        hidden = visible.hidden_datasets
        return await replay_set_aside(conn, org, None, whole=whole, hidden=hidden)
