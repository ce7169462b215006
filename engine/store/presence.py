"""Presence of processes, shown by locks of their sessions: the server releases them with a session.

Tables would need heartbeats, and would report a killed process for a while.
"""

from engine.model.presence import ALL_ORGS, Presence, ProcessKind
from engine.store.database import Connection
from engine.store.rows.presence import ConnectedKind
from engine.store.run import execute, fetch


async def register(conn: Connection, presence: Presence) -> None:
    """Show the work of this process, for as long as the session lasts."""
    for kind in presence.kinds:
        await execute(conn, "presence.register", kind=kind.value, org=presence.org)


async def connected_kinds(conn: Connection, org: str) -> set[ProcessKind]:
    """Return the kinds of processes connected for an org, or for all; see `register`.

    Earlier versions do not register.
    """
    kinds = [kind.value for kind in ProcessKind]
    rows = await fetch(conn, "presence.connected", ConnectedKind, kinds=kinds, orgs=[org, ALL_ORGS])
    return {ProcessKind(row.kind) for row in rows}
