"""Replay or close dead letters."""

from collections.abc import Sequence
from uuid import UUID

from consumers.replay import Replayed
from consumers.replay import replay as ingest_again
from engine.flow.ingestion.close_letters import close_letters
from engine.model.states import Role
from engine.service.caller import Caller, requires
from engine.service.ids import dead_letter_id
from engine.service.service import Service
from engine.store.rows.dead_letters import DeadLetterId
from engine.store.run import fetch

__all__ = ["Replayed", "close", "replay", "replay_all"]


@requires(Role.WRITER)
async def replay(caller: Caller, service: Service, ids: Sequence[str]) -> list[Replayed]:
    """Ingest dead letters again with the current format of the topic; return the outcomes.

    Raises InvalidInput, UnknownName.
    """
    async with service.transaction(caller) as (conn, org):
        letters = [await dead_letter_id(conn, org, id_) for id_ in ids]
        return await ingest_again(conn, org, letters)


@requires(Role.WRITER)
async def replay_all(caller: Caller, service: Service) -> list[Replayed]:
    """Ingest all open dead letters of the org again, the oldest first."""
    async with service.transaction(caller) as (conn, org):
        rows = await fetch(conn, "views.open_dead_letter_ids", DeadLetterId, org_id=org.id)
        return await ingest_again(conn, org, [row.id for row in rows])


@requires(Role.WRITER)
async def close(caller: Caller, service: Service, ids: Sequence[str], *, reason: str) -> list[UUID]:
    """Close dead letters without a replay, all or none; return their ids.

    Raises InvalidInput if the reason is empty or a letter is not open, UnknownName.
    """
    async with service.transaction(caller) as (conn, org):
        letters = [await dead_letter_id(conn, org, id_) for id_ in ids]
        return await close_letters(conn, org, letters, reason=reason, by=caller.user)
