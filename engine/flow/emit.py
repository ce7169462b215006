"""Emit: the steps of a plan become tasks, new ones or ones that had not started yet.

At most one open, unstarted task stands for a job and slot: a new need joins it. A running one may
have read the old data, so a new task queues behind it. A task waits for whatever is unfinished
among the tasks that make its inputs, whichever plan they came from.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from uuid import UUID

from psycopg.types.json import Jsonb

from engine.flow.scene import Scene
from engine.flow.settle import release
from engine.lineage.graph import Lineage
from engine.model.job import Job
from engine.planner import Plan
from engine.planner.tasks import WHOLE, TaskNeed, needs, upstream
from engine.store.database import Connection
from engine.store.ids import new_id
from engine.store.queries import query
from engine.store.run import Row, execute, fetch

_ANY_SLOT = ""
Place = tuple[UUID, str]


@dataclass(slots=True)
class _Emission:
    """A need on its way to be a task: which task, what stands in front of it, whether it joins."""

    job: Job
    need: TaskNeed
    task_id: UUID
    joins: bool
    front: list[UUID] = field(default_factory=list)

    @property
    def place(self) -> Place:
        return (self.job.id, self.need.slot)


async def emit(
    conn: Connection, scene: Scene, lineage: Lineage, decided: Plan, plan_id: UUID
) -> int:
    """Write the tasks of a plan and what they wait for; returns how many tasks it touches."""
    wanted = [
        (lineage.job(step.job), need) for step in decided.steps for need in needs(lineage, step)
    ]
    if not wanted:
        return 0
    sources = [list(_sources(lineage, job, need)) for job, need in wanted]
    live = await _lock_live(conn, wanted, sources)
    emissions = [_emission(job, need, live) for job, need in wanted]
    _put_in_front(emissions, sources, live)
    await _join(conn, [each for each in emissions if each.joins], plan_id)
    await _create(conn, scene, [each for each in emissions if not each.joins], plan_id)
    await _depend(conn, emissions)
    await _hold(conn, scene, emissions)
    return len(emissions)


def _sources(lineage: Lineage, job: Job, need: TaskNeed) -> Iterator[Place]:
    """The places of the tasks that make what a task reads."""
    for producer_id, partitions in upstream(lineage, job, need.keys):
        producer = lineage.job(producer_id)
        if producer.activation == "source":
            continue
        if producer.strategy != "PerPartition":
            yield (producer_id, WHOLE)
        elif isinstance(partitions, str):
            yield (producer_id, partitions)
        elif not partitions.is_finite:
            yield (producer_id, _ANY_SLOT)
        else:
            blocks = lineage.job_space(producer_id).blocks(partitions, producer.partitions_per_task)
            yield from ((producer_id, slot) for slot, _ in blocks)


async def _lock_live(
    conn: Connection, wanted: Sequence[tuple[Job, TaskNeed]], sources: Iterable[list[Place]]
) -> dict[Place, list[Row]]:
    """The unfinished tasks at all these places; under (job, any slot) all those of the job."""
    places = {(job.id, need.slot) for job, need in wanted}
    for each in sources:
        places.update(each)
    whole_jobs = [job for job, slot in places if slot == _ANY_SLOT]
    live: dict[Place, list[Row]] = defaultdict(list)
    jobs, slots = [job for job, _ in places], [slot for _, slot in places]
    for row in await fetch(conn, "tasks.lock_live", jobs=jobs, slots=slots):
        live[row["job_id"], row["slot"]].append(row)
    if whole_jobs:
        for row in await fetch(conn, "tasks.lock_live_of_jobs", jobs=whole_jobs):
            live[row["job_id"], _ANY_SLOT].append(row)
    return live


def _emission(job: Job, need: TaskNeed, live: Mapping[Place, list[Row]]) -> _Emission:
    open_ones = [row for row in live.get((job.id, need.slot), ()) if row["status"] != "running"]
    if open_ones:
        return _Emission(job, need, open_ones[0]["id"], joins=True)
    return _Emission(job, need, new_id(), joins=False)


def _put_in_front(
    emissions: Sequence[_Emission],
    sources: Sequence[Sequence[Place]],
    live: Mapping[Place, list[Row]],
) -> None:
    """Parents come first in a plan, so each finds the tasks that it has to wait for."""
    ours: dict[Place, UUID] = {each.place: each.task_id for each in emissions}
    by_job: dict[UUID, list[UUID]] = defaultdict(list)
    for each in emissions:
        by_job[each.job.id].append(each.task_id)
    for emission, places in zip(emissions, sources, strict=True):
        front: dict[UUID, None] = {}
        for place in places:
            front.update(dict.fromkeys(row["id"] for row in live.get(place, ())))
            if place[1] == _ANY_SLOT:
                front.update(dict.fromkeys(by_job[place[0]]))
            elif place in ours:
                front[ours[place]] = None
        emission.front = list(front)


def _must_run(emission: _Emission) -> bool:
    """Hit directly; or hit through parents that have done their part of this plan already."""
    return emission.need.hit or not emission.front


async def _join(conn: Connection, joining: Sequence[_Emission], plan_id: UUID) -> None:
    if joining:
        rows = [
            {
                "id": each.task_id,
                "hit": _must_run(each),
                "blocked": bool(each.front),
                "partitions": each.need.keys,
                "row_filters": each.need.row_filters,
            }
            for each in joining
        ]
        await execute(conn, "tasks.join", rows=Jsonb(rows), plan_id=plan_id)


async def _create(
    conn: Connection, scene: Scene, creating: Sequence[_Emission], plan_id: UUID
) -> None:
    if not creating:
        return
    async with conn.cursor() as cursor, cursor.copy(query("tasks.copy_in").encode()) as copy:
        for each in creating:
            blocked = each.front or each.job.holds
            await copy.write_row(
                (
                    each.task_id,
                    each.job.id,
                    "blocked" if blocked else "queued",
                    list(each.need.keys),
                    scene.org_id,
                    each.job.runtime,
                    each.job.priority,
                    each.need.slot,
                    _must_run(each),
                    Jsonb(list(each.need.row_filters)),
                    [plan_id],
                )
            )


async def _depend(conn: Connection, emissions: Sequence[_Emission]) -> None:
    pairs = [(each.task_id, front, each.joins) for each in emissions for front in each.front]
    joined = [(task, front) for task, front, joins in pairs if joins]
    if joined:
        tasks, fronts = zip(*joined, strict=True)
        await execute(conn, "tasks.add_dependencies", tasks=list(tasks), depends_on=list(fronts))
    text = query("tasks.copy_dependencies").encode()
    async with conn.cursor() as cursor, cursor.copy(text) as copy:
        for task, front, joins in pairs:
            if not joins:
                await copy.write_row((task, front))


async def _hold(conn: Connection, scene: Scene, emissions: Sequence[_Emission]) -> None:
    """A job that holds its first runs back starts blocked; nothing else in front, it may go."""
    ready = [each.task_id for each in emissions if each.job.holds and not each.front]
    if ready:
        await release(conn, scene, ready)
