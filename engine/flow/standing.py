"""Standing: what leads to the stale partitions of a job, or which decision leaves them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal
from uuid import UUID

from engine.flow.scene import Scene
from engine.lineage.graph import Lineage
from engine.model.job import Job
from engine.planner.first_runs import UNIT
from engine.store.database import Connection
from engine.store.run import Row, fetch

Verdict = Literal["in hand", "left", "lost"]


@dataclass(frozen=True, slots=True)
class Standing:
    """By partition key, and for the whole job, what is open and what was decided."""

    of_job: tuple[Verdict, str] | None
    of_keys: Mapping[str, tuple[Verdict, str]]

    def of(self, key: str) -> tuple[Verdict, str | None]:
        """The verdict on a stale partition, and the reason for it."""
        return self.of_keys.get(key) or self.of_job or ("lost", None)


async def load_standing(
    conn: Connection, scene: Scene, lineage: Lineage, job: Job, keys: Sequence[str]
) -> Standing:
    """Load it for some partition keys of a job, ``*`` where they are built together."""
    of_keys: dict[str, tuple[Verdict, str]] = {}
    for key, row in (await _decisions(conn, lineage, job, keys)).items():
        by = f" by {row['decided_by']}" if row["decided_by"] else ""
        of_keys[key] = "left", f"{row['decision']}{by} at {row['decided_at']:%Y-%m-%d %H:%M:%S %Z}"
    for key, plan in (await _pending(conn, scene, lineage, job, keys)).items():
        of_keys[key] = "left", f"plan {plan} is pending approval"
    rows = await fetch(conn, "stale.open_invalidations", org_id=scene.org_id)
    of_keys |= _invalidated(lineage, job, keys, rows)
    for key, row in (await _tasks(conn, job)).items():
        verdict: Verdict = "left" if row["status"] == "failed" else "in hand"
        of_keys[key] = verdict, f"task {row['id']} is {row['status']}"
    return Standing(_of_job(lineage, job, rows), of_keys)


def _of_job(lineage: Lineage, job: Job, open_rows: Sequence[Row]) -> tuple[Verdict, str] | None:
    """How open invalidations upstream concern the job, wherever they reach it."""
    upstream = _upstream(lineage, job) - set(job.outputs)
    above = [row for row in open_rows if row["dataset_uuid"] in upstream]
    if above:
        return _verdict(above, "of an input")
    if job.activation == "manual":
        return "left", "its job runs only when somebody asks for it"
    return None


def _invalidated(
    lineage: Lineage, job: Job, keys: Sequence[str], open_rows: Sequence[Row]
) -> dict[str, tuple[Verdict, str]]:
    """The partition keys that open invalidations of the job's own outputs cover."""
    space, found = lineage.job_space(job), {}
    own = [row for row in open_rows if row["dataset_uuid"] in job.outputs]
    for key in keys if own else ():
        partition = space.universe if key == UNIT else space.parse(key)
        covering = [
            row for row in own if key == UNIT or space.parse(row["partition_key"]).covers(partition)
        ]
        if covering:
            found[key] = _verdict(covering, "of it")
    return found


def _verdict(rows: Sequence[Row], of: str) -> tuple[Verdict, str]:
    if any(not row["is_set_aside"] for row in rows):
        return "in hand", f"an invalidation {of} is not planned yet"
    return "left", f"an invalidation {of} cannot be planned"


def _upstream(lineage: Lineage, job: Job) -> set[UUID]:
    """The datasets that a job makes, and all that it depends on."""
    found, left = set(job.outputs), [job]
    while left:
        for edge in lineage.inputs(left.pop().id):
            if edge.dataset not in found:
                found.add(edge.dataset)
                left.append(edge.producer)
    return found


async def _tasks(conn: Connection, job: Job) -> Mapping[str, Row]:
    """The unfinished tasks by the keys that they build; one that can still run comes first."""
    found: dict[str, Row] = {}
    for row in await fetch(conn, "stale.open_tasks", job=job.id):
        for key in [UNIT] if job.is_unit else row["partitions"]:
            if key not in found or found[key]["status"] == "failed":
                found[key] = row
    return found


async def _decisions(
    conn: Connection, lineage: Lineage, job: Job, keys: Sequence[str]
) -> Mapping[str, Row]:
    dataset = lineage.dataset(job.outputs[0])
    rows = await fetch(
        conn, "stale.decisions", dataset=dataset.id, version=dataset.version, keys=list(keys)
    )
    return {row["partition_key"]: row for row in rows}


async def _pending(
    conn: Connection, scene: Scene, lineage: Lineage, job: Job, keys: Sequence[str]
) -> Mapping[str, Any]:
    """The plans pending approval by the keys that they would recompute."""
    rows = await fetch(
        conn, "stale.pending_steps", org_id=scene.org_id, job=job.name, dag=job.dag_name
    )
    space = lineage.job_space(job)
    found: dict[str, Any] = {}
    for row in rows:
        step = space.from_keys(row["partitions"])
        for key in keys:
            if job.is_unit or step.covers(space.parse(key)):
                found[key] = row["plan_id"]
    return found
