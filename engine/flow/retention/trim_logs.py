"""Drop the oldest logs of an org in the history, down to its quota."""

from typing import Final

from engine.flow.shared.org_context import OrgContext
from engine.store.database import Connection
from engine.store.orgs import settings
from engine.store.rows.orgs import FullMonth
from engine.store.run import execute, fetch_one

DROPPED: Final = "(dropped: the logs of the org exceeded its quota of log_bytes)"
_BATCH = 1_000


async def trim_logs(conn: Connection, org: OrgContext) -> bool:
    """Replace a batch of the oldest logs by a note; return whether there was one.

    Sizes are kept by month, as attempts move to the history: no log is read to measure it.
    """
    quota = (await settings(conn, org.id)).log_bytes
    if quota is None:
        return False
    async with conn.transaction():
        full = await fetch_one(conn, "orgs.lock_full_month", FullMonth, org_id=org.id, most=quota)
        if full is None:
            return False
        await execute(
            conn,
            "orgs.drop_logs",
            org_id=org.id,
            month=full.month,
            excess=full.excess,
            note=DROPPED,
            limit=_BATCH,
        )
    return True
