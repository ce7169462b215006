"""Laws at rest: no work is left, every table is correct, and the audit finds nothing lost."""

from __future__ import annotations

from collections.abc import Mapping

from engine.flow.planning.audit import audit
from tests.simulation import recompute
from tests.simulation.dimensions import Key
from tests.simulation.invariants import Broken
from tests.simulation.tables.evaluation import Evaluation, Existing
from tests.simulation.tables.state import TableState
from tests.simulation.world import World

_UNFINISHED = """
SELECT j.name, t.block_key, t.status, t.error_message FROM tasks t JOIN jobs j ON j.id = t.job_id
WHERE t.org_id = %s AND t.status IN ('blocked', 'queued', 'running', 'failed')
"""


async def check_at_rest(state: TableState, named_by_events: Mapping[str, set[Key]]) -> None:
    """Check all laws, for the source partitions named by events. Raises Broken."""
    existing = await state.existing()
    stuck = stuck_jobs(state.world.world, existing)
    for row in await state.engine.rows(_UNFINISHED, state.engine.org.id):
        if row["name"] not in stuck:
            raise Broken("at rest no work is left", row)
    _check_existing(state, existing, named_by_events, stuck)
    async with state.engine.database.transaction() as conn:
        await Evaluation(conn, state.world, state.schema, existing).check()
    async with state.engine.conn() as conn:
        slices = [part async for part in audit(conn, state.engine.org)]
    for lost in (partition for part in slices for partition in part.lost):
        raise Broken("the audit finds nothing lost", lost)


def stuck_jobs(world: World, existing: Existing) -> set[str]:
    """Return the jobs that read a missing table, never written for lack of rows, and dependents.

    Every attempt of the former fails, and the latter never get their inputs.
    """
    stuck: set[str] = set()
    for job in world.derived_jobs:
        producers = [world.producers[read.dataset] for read in job.reads]
        absent = (not p.is_source and not existing[p.outputs[0].name] for p in producers)
        if any(absent) or any(p.name in stuck for p in producers):
            stuck.add(job.name)
    return stuck


def _check_existing(
    state: TableState, existing: Existing, named_by_events: Mapping[str, set[Key]], stuck: set[str]
) -> None:
    world = state.world.world
    for name, keys in named_by_events.items():
        if missing := keys - existing[name]:
            raise Broken("sound: a partition is missing", (name, missing))
    for job in world.derived_jobs:
        must = recompute.must_exist(world, job, existing, {})
        possible = recompute.may_exist(world, job, existing)
        for output in job.outputs:
            may = possible | state.retained[output.name]
            existing_keys = existing[output.name]
            if not (must <= existing_keys or job.name in stuck) or not existing_keys <= may:
                details = output.name, must - existing_keys, existing_keys - may
                raise Broken("sound: a partition is missing, or cannot exist", details)
