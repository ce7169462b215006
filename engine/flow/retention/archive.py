"""Move finished work to the history, so that the tables of unfinished work stay small."""

from collections.abc import Iterable
from datetime import UTC, datetime
from uuid import UUID

from engine.flow.shared.org_context import OrgContext
from engine.store.database import Connection
from engine.store.rows.tasks import TaskId
from engine.store.run import execute, fetch

_BATCH = 2000


async def archive(conn: Connection, org: OrgContext, seconds: float) -> int:
    """Move a batch of tasks that finished some seconds ago; return the number moved.

    Nothing in the engine needs a finished task: dependencies on a missing task count as finished.
    """
    async with conn.transaction():
        rows = await fetch(
            conn, "history.finished_tasks", TaskId, org_id=org.id, seconds=seconds, limit=_BATCH
        )
        ids = [row.id for row in rows]
        for month in _months(ids):
            await execute(
                conn, "history.add_partition", history="knockon.tasks_history", moment=month
            )
        return await execute(conn, "history.move_tasks", ids=ids)


def _months(ids: Iterable[UUID]) -> set[datetime]:
    """Return the first moments of the months in ids of version 7, in UTC."""
    moments = (datetime.fromtimestamp((id_.int >> 80) / 1000, UTC) for id_ in ids)
    return {datetime(moment.year, moment.month, 1, tzinfo=UTC) for moment in moments}
