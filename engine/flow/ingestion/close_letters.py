"""Close dead letters resolved by means other than a replay."""

from collections.abc import Sequence
from uuid import UUID

from engine.errors import InvalidInput
from engine.flow.shared.org_context import OrgContext
from engine.store.database import Connection
from engine.store.rows.dead_letters import DeadLetterId
from engine.store.run import fetch


async def close_letters(
    conn: Connection, org: OrgContext, ids: Sequence[UUID], *, reason: str, by: str | None
) -> list[UUID]:
    """Close open dead letters, all or none; return their ids.

    Raises InvalidInput if the reason is empty or any of the letters is not open.
    """
    if not reason.strip():
        raise InvalidInput("the reason is empty: state why the letters need no replay")
    wanted = set(ids)
    async with conn.transaction():
        rows = await fetch(
            conn,
            "dead_letters.close",
            DeadLetterId,
            org_id=org.id,
            ids=[*wanted],
            reason=reason,
            by=by,
        )
        if remaining := wanted - {row.id for row in rows}:
            named = ", ".join(sorted(map(str, remaining)))
            raise InvalidInput(f"replayed or closed already: {named}; nothing was closed")
    return [row.id for row in rows]
