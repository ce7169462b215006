"""Invalidate the partitions that have come into being as time passed.

A change is planned for the partitions in being. Partitions that read it and come into being later
get an invalidation of their own: partitions that begin between two checks, with inputs, and neither
built nor about to be built. The time of the last check is stored as the position of a
consumer, and moves in the transaction that writes the invalidations. The planning lock excludes
plans made with an earlier time and not yet committed.
"""

from engine.flow.shared.appearances import load_checked_until, unbuilt
from engine.flow.shared.invalidations import insert_own
from engine.flow.shared.org_context import OrgContext
from engine.model.states import Activation
from engine.planner import begun_between
from engine.store.clock import load_now
from engine.store.database import Connection
from engine.store.orgs import lock_planning
from engine.store.run import execute


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
                    begun = begun_between(lineage.job_space(job), job.appears, since, now)
                    invalidations += await unbuilt(conn, lineage, job, now, begun)
        await insert_own(conn, org, invalidations)
        if since is None or since < now:
            await execute(conn, "appearances.checked", org_id=org.id, until=now)
    return sum(len(invalidation["ids"]) for invalidation in invalidations)
