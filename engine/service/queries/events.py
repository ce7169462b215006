"""The feed of events of an org."""

from collections.abc import Sequence
from typing import Any

from engine.errors import InvalidInput
from engine.model.states import EventKind, Role
from engine.service.caller import Caller, requires
from engine.service.service import Service
from engine.store.rows.events import ExpiredEvents, FeedEvent, NewestPosition
from engine.store.run import fetch, fetch_one

__all__ = ["FeedEvent", "events", "newest_position"]


@requires(Role.READER)
async def events(
    caller: Caller,
    service: Service,
    *,
    after: int | None = None,
    kinds: Sequence[EventKind] | None = None,
    limit: int = 100,
) -> list[FeedEvent]:
    """List events by position: the first after a position (0: the beginning), or the newest.

    A reader that continues after the position of the last event read misses and repeats nothing.
    Raises InvalidInput if events after the position were removed after their retention period.
    """
    params: dict[str, Any] = {"kinds": None if kinds is None else list(kinds), "limit": limit}
    async with service.snapshot(caller) as (conn, org):
        params["org_id"] = org.id
        if after is None:
            return (await fetch(conn, "events.newest", FeedEvent, **params))[::-1]
        expired = await fetch_one(conn, "events.expired_to", ExpiredEvents, org_id=org.id)
        if expired is not None and 0 < after < expired.position:
            raise InvalidInput(
                f"the events up to position {expired.position}, some of them after {after}, were "
                f"removed after their retention period: read the current state by other commands, "
                f"and continue after {expired.position}"
            )
        return await fetch(conn, "events.after", FeedEvent, after=after, **params)


@requires(Role.READER)
async def newest_position(caller: Caller, service: Service) -> int:
    """Return the position of the newest event; 0 without events."""
    async with service.snapshot(caller) as (conn, org):
        row = await fetch_one(conn, "events.newest_position", NewestPosition, org_id=org.id)
    return 0 if row is None else row.position
