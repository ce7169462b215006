"""Pauses of jobs, datasets and orgs.

The tasks of a paused job are planned and not claimed. The invalidations of a paused dataset, or of
all datasets of a paused org, are stored and not planned. Plans that a person applies or approves,
and the builds of a deploy, are planned in spite of a pause.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from engine.flow.shared.org_context import OrgContext
from engine.model.states import PauseKind
from engine.store.database import Connection
from engine.store.notifications import INVALIDATIONS, TASKS, notify
from engine.store.rows.pauses import Pause, RequestedPause
from engine.store.run import fetch, fetch_one


@dataclass(frozen=True, slots=True)
class Pauses:
    """All pauses of an org."""

    rows: Sequence[Pause] = ()

    def of_job(self, dag: str, name: str) -> Pause | None:
        """Return the pause that keeps tasks of the job from being claimed.

        A job is paused by its full name; earlier code paused all jobs of a name.
        """
        earlier = () if "." in name else ((PauseKind.JOB, name),)
        return self._first((PauseKind.JOB, f"{dag}.{name}"), *earlier)

    def of_dataset(self, name: str) -> Pause | None:
        """Return the pause that keeps invalidations of the dataset from being planned."""
        return self._first((PauseKind.ORG, ""), (PauseKind.DATASET, name))

    def _first(self, *subjects: tuple[PauseKind, str]) -> Pause | None:
        return next((row for row in self.rows if (row.kind, row.name) in subjects), None)


async def load_pauses(conn: Connection, org: OrgContext) -> Pauses:
    """Load the pauses of an org."""
    return Pauses(await fetch(conn, "pauses.list", Pause, org_id=org.id))


async def pause(
    conn: Connection,
    org: OrgContext,
    kind: PauseKind,
    name: str,
    *,
    reason: str | None = None,
    by: str | None = None,
) -> RequestedPause:
    """Pause a subject, from the next claim or planning on; a paused one keeps its first pause."""
    params = {"org_id": org.id, "kind": kind, "name": name, "by": by, "reason": reason}
    (row,) = await fetch(conn, "pauses.insert", RequestedPause, **params)
    return row


async def resume(conn: Connection, org: OrgContext, kind: PauseKind, name: str) -> Pause | None:
    """End a pause and notify workers and planners; return None if the subject is not paused."""
    async with conn.transaction():
        row = await fetch_one(conn, "pauses.delete", Pause, org_id=org.id, kind=kind, name=name)
        await notify(conn, TASKS if kind == PauseKind.JOB else INVALIDATIONS, org.id)
    return row
