"""Leave: record that partitions stay stale because somebody decided so."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal
from uuid import UUID

from engine.flow.stale import Stale, stale_keys, stale_partitions
from engine.lineage.graph import Lineage
from engine.planner.first_runs import UNIT
from engine.store.database import Connection
from engine.store.run import execute


@dataclass(frozen=True, slots=True)
class Decision:
    """A decision not to recompute for now, by whom, about which task or plan."""

    kind: Literal["canceled", "rejected"]
    by: str | None = None
    task: UUID | None = None
    plan: UUID | None = None


async def leave_stale(
    conn: Connection,
    lineage: Lineage,
    partitions: Mapping[UUID, Sequence[str]],
    decision: Decision,
) -> Stale:
    """Record the decision with those partitions, by job, that are stale; returns them."""
    needs = [(job, keys) for id_, keys in partitions.items() if (job := lineage.find_job(id_))]
    stale = await stale_partitions(conn, lineage, needs)
    for job, keys in needs:
        dataset = lineage.dataset(job.outputs[0])
        await execute(
            conn,
            "stale.record_decisions",
            dataset=dataset.id,
            version=dataset.version,
            keys=[UNIT] if job.is_unit else list(stale_keys(stale, job, keys)),
            decision=decision.kind,
            by=decision.by,
            task=decision.task,
            plan=decision.plan,
        )
    return stale
