"""Release the planning lock of a frozen process.

A timeout ends the session of a process frozen between two statements of a transaction. It does not
apply to a process frozen while it copies rows, or between two transactions under the lock.
"""

import structlog

from engine.flow.shared.org_context import OrgContext
from engine.store.database import Connection
from engine.store.rows.planning_attempts import TerminatedSession
from engine.store.run import fetch

_log = structlog.get_logger(__name__)
_FROZEN_SECONDS = 900.0
"""More than a planner ever computes between two statements."""


async def release_frozen(
    conn: Connection, org: OrgContext, seconds: float = _FROZEN_SECONDS
) -> bool:
    """End the session that holds the org's planning lock, if silent for ``seconds``.

    Return whether there was one.
    """
    rows = await fetch(
        conn,
        "planning_attempts.terminate_frozen",
        TerminatedSession,
        org_id=str(org.id),
        seconds=seconds,
    )
    ended = [row for row in rows if row.is_ended]
    for row in ended:
        _log.error("planning lock of a frozen process released", session=row.pid, host=row.host)
    return bool(ended)
