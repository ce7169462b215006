"""Laws at rest: no work is left, every table is correct, and the audit finds nothing lost."""

from __future__ import annotations

from collections.abc import Mapping

from engine.flow.planning.audit import audit
from tests.simulation import recompute
from tests.simulation.dimensions import Key
from tests.simulation.invariants import Broken
from tests.simulation.tables.scratch import Existing, Scratch
from tests.simulation.tables.stand import Stand
from tests.simulation.world import World

_UNFINISHED = """
SELECT j.name, t.block_key, t.status, t.error_message FROM tasks t JOIN jobs j ON j.id = t.job_id
WHERE t.org_id = %s AND t.status IN ('blocked', 'queued', 'running', 'failed')
"""


async def check_at_rest(stand: Stand, named_by_events: Mapping[str, set[Key]]) -> None:
    """Check all laws, for the source partitions named by events. Raises Broken."""
    existing = await stand.existing()
    stuck = stuck_jobs(stand.world.world, existing)
    for row in await stand.engine.rows(_UNFINISHED, stand.engine.org.id):
        if row["name"] not in stuck:
            raise Broken("at rest there is nothing left to do", row)
    _check_existing(stand, existing, named_by_events, stuck)
    async with stand.engine.database.transaction() as conn:
        await Scratch(conn, stand.world, stand.schema, existing).check()
    async with stand.engine.conn() as conn:
        slices = [each async for each in audit(conn, stand.engine.org)]
    for lost in (each for part in slices for each in part.lost):
        raise Broken("the audit finds nothing lost", lost)


def stuck_jobs(world: World, existing: Existing) -> set[str]:
    """Return the jobs that read a missing table, never written for lack of rows, and dependents.

    Every attempt of the former fails, and the latter never get their inputs.
    """
    stuck: set[str] = set()
    for job in world.derived_jobs:
        makers = [world.makers[read.dataset] for read in job.reads]
        absent = (not each.is_source and not existing[each.outputs[0].name] for each in makers)
        if any(absent) or any(each.name in stuck for each in makers):
            stuck.add(job.name)
    return stuck


def _check_existing(
    stand: Stand, existing: Existing, named_by_events: Mapping[str, set[Key]], stuck: set[str]
) -> None:
    world = stand.world.world
    for name, keys in named_by_events.items():
        if missing := keys - existing[name]:
            raise Broken("sound: a partition is missing", (name, missing))
    for job in world.derived_jobs:
        must = recompute.must_exist(world, job, existing, {})
        may = recompute.may_exist(world, job, existing)
        for output in job.outputs:
            existing_keys = existing[output.name]
            if not (must <= existing_keys or job.name in stuck) or not existing_keys <= may:
                what = output.name, must - existing_keys, existing_keys - may
                raise Broken("sound: a partition is missing, or cannot be", what)
