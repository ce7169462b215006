"""Check of the processes connected for an org."""

from engine.model.presence import ProcessKind
from engine.service.checks.check import Check, judge
from engine.store.database import Connection
from engine.store.presence import connected_kinds

_COMMANDS = {
    ProcessKind.ENGINE: "'knockon engine'",
    ProcessKind.WORKER: "'knockon worker'",
    ProcessKind.CONSUMER: "'knockon consume'",
}


async def check_processes(conn: Connection, org: str, *, has_sources: bool) -> Check:
    """Check that an engine and a worker are connected, and with sources a consumer."""
    needed = [kind for kind in ProcessKind if has_sources or kind != ProcessKind.CONSUMER]
    connected = await connected_kinds(conn, org)
    missing = [kind for kind in needed if kind not in connected]
    return judge(
        "processes",
        not missing,
        f"no {' and no '.join(missing)} of org {org} is connected"
        if missing
        else f"connected: {', '.join(needed)}",
        f"run {' and '.join(_COMMANDS[kind] for kind in missing)}, or 'knockon up'",
    )
