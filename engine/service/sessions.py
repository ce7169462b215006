"""Sessions of people in a browser."""

from engine.errors import Unauthenticated
from engine.model.session_secret import SessionSecret
from engine.model.states import Role
from engine.service.access_changes import record_change
from engine.service.caller import Caller, Org
from engine.service.errors import database_errors
from engine.service.service import Service
from engine.store.ids import new_id
from engine.store.rows.identity import ValidSession
from engine.store.run import execute, fetch_last


async def start_session(
    service: Service, caller: Caller, *, seconds: float, idle_seconds: float
) -> SessionSecret:
    """Start a session of the caller's user, and return its secret, which is not stored."""
    secret = SessionSecret.generate()
    with database_errors():
        async with service.transaction(caller) as (conn, org):
            await execute(
                conn,
                "sessions.insert",
                id=new_id(),
                org_id=org.id,
                user_id=caller.user_id,
                hash=secret.hash,
                seconds=seconds,
                idle_seconds=idle_seconds,
            )
            await record_change(conn, caller, "session.started", caller.user or "")
    return secret


async def authenticate_session(service: Service, text: str, origin: str) -> Caller:
    """Return the caller of a session, and record its use. Raises Unauthenticated."""
    secret = SessionSecret.parse(text)
    with database_errors():
        row = None if secret is None else await _valid_session(service, secret)
    if row is None:
        raise Unauthenticated("the session has ended: log in again")
    return Caller(
        Org(row.org_id, row.org),
        row.email,
        Role(row.role),
        origin=origin,
        org_roles=frozenset(row.org_roles),
        user_id=row.user_id,
        session_id=row.id,
    )


async def _valid_session(service: Service, secret: SessionSecret) -> ValidSession | None:
    async with service.database.connection() as conn:
        row = await fetch_last(
            conn, "sessions.by_hash", ValidSession, first="sessions.restrict", hash=secret.hash
        )
    if row is not None and row.is_use_unrecorded:
        async with service.database.org_connection(row.org_id) as conn:
            await execute(conn, "sessions.record_use", id=row.id, org_id=row.org_id)
    return row
