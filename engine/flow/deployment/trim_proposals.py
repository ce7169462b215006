"""Trim old proposals that were never applied."""

from engine.flow.shared.org_context import OrgContext
from engine.store.database import Connection
from engine.store.run import execute

_DAYS = 7


async def trim(conn: Connection, org: OrgContext) -> int:
    """Delete proposals older than a week; return the number deleted."""
    return await execute(conn, "plans.trim", org_id=org.id, days=_DAYS)
