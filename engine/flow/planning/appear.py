"""Invalidate the partitions that have come into being as time passed.

A change is planned for the partitions in being. Partitions that read it and come into being later
get an invalidation of their own: partitions that begin between two checks, with inputs, and neither
built nor about to be built. The time of the last check is stored as the position of a
consumer, and moves in the transaction that writes the invalidations. The planning lock excludes
plans made with an earlier time and not yet committed.
"""

from datetime import datetime

import structlog

from engine.errors import InvalidInput
from engine.flow.shared.appearances import load_checked_until, unbuilt
from engine.flow.shared.invalidations import NewInvalidation, insert_own
from engine.flow.shared.org_context import OrgContext
from engine.lineage.graph import Lineage
from engine.model.job import Job
from engine.model.states import Activation
from engine.planner import begun_between
from engine.store.clock import load_now
from engine.store.database import Connection
from engine.store.orgs import lock_planning
from engine.store.run import execute

_log = structlog.get_logger(__name__)


async def appear(conn: Connection, org: OrgContext) -> int:
    """Invalidate partitions in being since the last check; return the number of invalidations.

    The first check of an org covers nothing, because plans and deploys cover the partitions in
    being at their time.
    """
    async with conn.transaction():
        await lock_planning(conn, org.id)
        now = await load_now(conn)
        since = await load_checked_until(conn, org)
        invalidations = []
        if since is not None and since < now:
            lineage = await org.lineage(conn)
            for job in lineage.order:
                if job.activation == Activation.REACTIVE:
                    invalidations += await _of_job(conn, lineage, job, since, now)
        await insert_own(conn, org, invalidations)
        if since is None or since < now:
            await execute(conn, "appearances.checked", org_id=org.id, until=now)
    return sum(len(invalidation["ids"]) for invalidation in invalidations)


async def _of_job(
    conn: Connection, lineage: Lineage, job: Job, since: datetime, now: datetime
) -> list[NewInvalidation]:
    """Return the invalidations of a job; none if its partitions cannot be determined."""
    try:
        begun = begun_between(lineage.job_space(job), job.appears, since, now)
        return await unbuilt(conn, lineage, job, now, begun)
    except InvalidInput as error:
        _log.error("partitions in being not determined", job=job.full_name, why=str(error))
        return []
