"""Sessions of the caller in browsers."""

from engine.model.states import Role
from engine.service.caller import Caller, requires
from engine.service.service import Service
from engine.store.rows.identity import SessionRow
from engine.store.run import fetch

__all__ = ["SessionRow", "sessions"]


@requires(Role.READER)
async def sessions(caller: Caller, service: Service) -> list[SessionRow]:
    """Return the sessions of the caller's own user, newest first."""
    async with service.snapshot(caller) as (conn, org):
        return await fetch(
            conn, "sessions.of_user", SessionRow, org_id=org.id, user_id=caller.user_id
        )
