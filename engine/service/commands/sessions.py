"""Ends of sessions of the caller in browsers."""

from uuid import UUID

import msgspec

from engine.errors import UnknownName
from engine.model.states import Role
from engine.service.access_changes import record_change
from engine.service.caller import Caller, requires
from engine.service.service import Service
from engine.store.run import execute


class EndedSessions(msgspec.Struct, frozen=True):
    """The number of sessions that were ended."""

    ended: int


@requires(Role.READER, own=True)
async def end_session(caller: Caller, service: Service, session: UUID) -> EndedSessions:
    """End a session of the caller's own user at once. Raises UnknownName."""
    ended = await _end(caller, service, session)
    if not ended.ended:
        raise UnknownName(f"you have no session {session}: 'GET /sessions' lists them")
    return ended


@requires(Role.READER, own=True)
async def end_sessions(caller: Caller, service: Service) -> EndedSessions:
    """End all sessions of the caller's own user at once."""
    return await _end(caller, service, None)


async def _end(caller: Caller, service: Service, session: UUID | None) -> EndedSessions:
    async with service.transaction(caller) as (conn, org):
        ended = await execute(
            conn, "sessions.end", org_id=org.id, user_id=caller.user_id, id=session
        )
        if ended:
            before = {"sessions": ended}
            await record_change(conn, caller, "session.ended", caller.user or "", before=before)
        return EndedSessions(ended)
