"""Partitions that come into being as time passes, and the time up to which they are invalidated."""

from datetime import datetime

from engine.flow.shared.invalidations import NewInvalidation, own_invalidation
from engine.flow.shared.load_partitions import answer_from_known
from engine.flow.shared.org_context import OrgContext
from engine.lineage.graph import Lineage
from engine.model.invalidation import OwnReason
from engine.model.job import Job
from engine.partitions import PartitionSet
from engine.planner import expected_partitions
from engine.store.clock import load_now
from engine.store.database import Connection
from engine.store.rows.appearances import Checked
from engine.store.run import fetch_one


async def load_checked_until(conn: Connection, org: OrgContext) -> datetime | None:
    """Return the time of the last check for partitions in being; None before the first check."""
    row = await fetch_one(conn, "appearances.last_check", Checked, org_id=org.id)
    return None if row is None else row.until


async def load_audited_until(conn: Connection, org: OrgContext) -> datetime:
    """Return the time by which unbuilt partitions in being are judged.

    That is the last check, because partitions in being since then are pending until the next;
    before the first check, it is the current time.
    """
    return await load_checked_until(conn, org) or await load_now(conn)


async def unbuilt(
    conn: Connection, lineage: Lineage, job: Job, now: datetime, among: PartitionSet
) -> list[NewInvalidation]:
    """Return invalidations of partitions in being that are neither built nor about to be built.

    Inputs about to be built count, because the partitions run only if they are stale by then. None
    for a `PerUpdate` job, which finds its partitions in new rows.
    """
    if not among or job.is_per_update:
        return []
    output = job.outputs[0]
    missing = await answer_from_known(
        conn,
        lineage,
        lambda known: (expected_partitions(lineage, job, known, now) & among) - known(output),
    )
    if not missing:
        return []
    dataset = lineage.dataset(output)
    texts = lineage.job_space(job).texts(missing)
    return [
        own_invalidation(
            dataset.id, dataset.version, texts, reason=OwnReason.APPEARED, source="appears"
        )
    ]
