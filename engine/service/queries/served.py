"""Processes lately at work in an org, and those without which its work does not continue."""

from collections.abc import Iterable

from engine.flow.shared.org_context import OrgContext
from engine.store.database import Connection
from engine.store.rows.views import LatelyServed, WaitingRuntime
from engine.store.run import fetch

_LATELY_SECONDS = 30.0


async def load_served(conn: Connection, org: OrgContext) -> LatelyServed:
    """Load the runtimes with workers lately at work, and whether an engine has lately planned."""
    (row,) = await fetch(
        conn, "views.lately_served", LatelyServed, org_id=org.id, seconds=_LATELY_SECONDS
    )
    return row


async def missing_processes(
    conn: Connection, org: OrgContext, oldest_seconds: float | None
) -> Iterable[str]:
    """Return the processes for which work has waited too long, with remedies.

    ``oldest_seconds`` is the age of the oldest invalidation to plan; None if there is none.
    """
    served = await load_served(conn, org)
    waiting = await fetch(
        conn, "views.waiting_runtimes", WaitingRuntime, org_id=org.id, seconds=_LATELY_SECONDS
    )
    missing = [missing_worker(row.runtime) for row in waiting if row.runtime not in served.runtimes]
    is_late = oldest_seconds is not None and oldest_seconds >= _LATELY_SECONDS
    if is_late and not served.is_planning:
        missing.insert(0, missing_engine("the unplanned invalidations"))
    return missing


def missing_engine(change: str) -> str:
    """Return that nothing plans a change, and the remedy."""
    return f"no engine plans {change}: run 'knockon engine'"


def missing_worker(runtime: str) -> str:
    """Return that nothing claims the tasks of a runtime, and the remedy."""
    return f"no worker claims tasks of the runtime {runtime!r}: run 'knockon worker'"
