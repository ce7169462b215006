"""Ignored failures: tasks run without the result of a failed task whose failure they ignore.

A task that waits for a failed one, directly or further downstream, cannot run either, so its
failure counts as well. The result of such a task, once it succeeds after all, has readers that no
longer wait for it: its changes are invalidated like those that no plan has propagated.
"""

from collections.abc import Collection
from uuid import UUID

from engine.flow.execution.dependents import unblock_all
from engine.flow.shared.org_context import OrgContext
from engine.lineage.graph import Lineage
from engine.store.database import Connection
from engine.store.rows.tasks import BlockedBy, TaskId
from engine.store.run import execute, fetch

_Dependency = tuple[UUID, UUID]
"""A blocked task, and the task that blocks it."""


async def release_dependents(conn: Connection, org: OrgContext, failed: Collection[UUID]) -> None:
    """Unblock the tasks that wait for failed tasks only through inputs that ignore failures.

    Must run in the transaction in which the tasks failed, or in which their dependents were
    created.
    """
    lineage = await org.lineage(conn)
    if not (failed and lineage.ignores_failures):
        return
    released = await _ignoring(conn, lineage, failed)
    if not released:
        return
    tasks, blockers = map(list, zip(*sorted(released), strict=True))
    await execute(conn, "tasks.delete_dependencies", tasks=tasks, blockers=blockers)
    await execute(conn, "tasks.propagate_nothing", ids=sorted({*blockers}))
    await unblock_all(conn, org, sorted({*tasks}))


async def release_all_dependents(conn: Connection, org: OrgContext) -> None:
    """Unblock dependents of all failed tasks, for example after a deploy that ignores failures."""
    lineage = await org.lineage(conn)
    if lineage.ignores_failures:
        failed = await fetch(conn, "tasks.failed", TaskId, org_id=org.id)
        await release_dependents(conn, org, [row.id for row in failed])


async def _ignoring(
    conn: Connection, lineage: Lineage, failed: Collection[UUID]
) -> set[_Dependency]:
    """Find and lock the dependencies to ignore, from the failed tasks downstream."""
    released: set[_Dependency] = set()
    held_up, found = set(failed), set(failed)
    while found:
        await fetch(conn, "tasks.lock_dependents", TaskId, ended=sorted(found))
        rows = await fetch(conn, "tasks.blocked_by", BlockedBy, blockers=sorted(found))
        ignoring = {
            (row.id, row.depends_on)
            for row in rows
            if lineage.ignores_failure(row.job_id, row.blocker_job_id)
        }
        released |= ignoring
        waiting = {row.id for row in rows if (row.id, row.depends_on) not in ignoring}
        found = waiting - held_up
        held_up |= found
    return released
