"""Move finished work to the history, so that the tables of unfinished work stay small."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from uuid import UUID

from engine.flow.shared.org_context import OrgContext
from engine.store.database import Connection
from engine.store.rows.history import FinishedId
from engine.store.run import execute, fetch

_BATCH = 1000


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of work: its history table, and the statements that find and move finished rows."""

    history: str
    find: str
    move: str


KINDS = (
    Kind("knockon.tasks_history", "history.finished_tasks", "history.move_tasks"),
    Kind("knockon.plans_history", "history.applied_plans", "history.move_plans"),
    Kind(
        "knockon.data_invalidations_history",
        "history.processed_invalidations",
        "history.move_invalidations",
    ),
    Kind(
        "knockon.dead_letters_history", "history.closed_dead_letters", "history.move_dead_letters"
    ),
)
"""In the order of expiry: a task keeps its plans, and a plan its invalidations."""


async def archive(conn: Connection, org: OrgContext, seconds: float) -> int:
    """Move a batch of work of each kind that finished some seconds ago; return the rows moved.

    Nothing in the engine needs finished work: a dependency on a missing task counts as finished.
    """
    return sum([await _archive(conn, org, kind, seconds) for kind in KINDS])


async def _archive(conn: Connection, org: OrgContext, kind: Kind, seconds: float) -> int:
    async with conn.transaction():
        rows = await fetch(
            conn, kind.find, FinishedId, org_id=org.id, seconds=seconds, limit=_BATCH
        )
        ids = [row.id for row in rows]
        for month in _months(ids):
            await execute(conn, "history.add_partition", history=kind.history, moment=month)
        return await execute(conn, kind.move, ids=ids) if ids else 0


def _months(ids: Iterable[UUID]) -> set[datetime]:
    """Return the first moments of the months in ids of version 7, in UTC."""
    moments = (datetime.fromtimestamp((id_.int >> 80) / 1000, UTC) for id_ in ids)
    return {datetime(moment.year, moment.month, 1, tzinfo=UTC) for moment in moments}
