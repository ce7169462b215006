"""Record of the changes to users, roles, keys and settings."""

from typing import Any

from psycopg.types.json import Jsonb

from engine.service.caller import Caller
from engine.store.database import Connection
from engine.store.ids import new_id
from engine.store.run import execute


async def record_change(
    conn: Connection,
    caller: Caller,
    change: str,
    subject: str,
    *,
    before: Any = None,
    after: Any = None,
) -> None:
    """Record a change in its transaction, with the values ``before`` and ``after``."""
    await execute(
        conn,
        "access_changes.insert",
        id=new_id(),
        org_id=caller.org.id,
        actor=caller.user,
        origin=caller.origin,
        change=change,
        subject=subject,
        before=None if before is None else Jsonb(before),
        after=None if after is None else Jsonb(after),
    )
