"""Room of an org within its quotas of tasks."""

from engine.flow.shared.org_context import OrgContext
from engine.store.database import Connection
from engine.store.orgs import has_active_tasks, running_tasks, settings, unfinished_tasks
from engine.store.rows.orgs import ClaimLock
from engine.store.run import fetch_one


async def room_to_run(conn: Connection, org: OrgContext, most: int) -> int:
    """Return how many of ``most`` tasks may start; 0 while a concurrent claimer counts them.

    The lock ends with the caller's transaction, so that no other claim counts before its commit.
    """
    quota = (await settings(conn, org.id)).running_tasks
    if quota is None:
        return most
    lock = await fetch_one(conn, "orgs.try_lock_claims", ClaimLock, org_id=org.id)
    if lock is None or not lock.is_held:
        return 0
    return max(min(most, quota - await running_tasks(conn, org.id, quota)), 0)


async def has_room_to_plan(conn: Connection, org: OrgContext) -> bool:
    """Return whether the planner may create tasks.

    If no task is queued or running, the others wait for something that a plan may bring, and the
    quota does not apply.
    """
    quota = (await settings(conn, org.id)).unfinished_tasks
    return (
        quota is None
        or await unfinished_tasks(conn, org.id, quota) < quota
        or not await has_active_tasks(conn, org.id)
    )
