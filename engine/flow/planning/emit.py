"""Emit the steps of a plan as tasks, either new or merged into existing unstarted tasks.

A block of a job has at most one open, unstarted task, joined by any further need. A running task
may have read the old data, so a new task is queued behind it. A task waits for all unfinished tasks
that produce its inputs, regardless of their plan.

A plan may have 50,000 tasks, each looked up many times. Tasks are therefore keyed by the bytes of
their ids, the format of COPY, and jobs by the integers of theirs. Both types hash in C, while UUIDs
hash in Python.
"""

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache
from itertools import product
from typing import Any
from uuid import UUID

import msgspec
from psycopg.types.json import Jsonb

from engine.errors import TooManyPartitions
from engine.flow.execution.dependents import unblock_all
from engine.flow.execution.stale_decisions import forget_decisions
from engine.flow.shared.org_context import OrgContext
from engine.gc_pause import gc_paused
from engine.lineage.graph import Lineage
from engine.model.job import Job
from engine.planner import (
    Plan,
    Step,
    TriggeringEdges,
    cached_step_blocks,
    propagated_scopes,
    triggering_edges_of,
    upstream,
)
from engine.planner.blocks import SINGLE_RUN_BLOCK
from engine.store.copying import copy_in, int4, jsonb, texts, uuids
from engine.store.database import Connection
from engine.store.ids import new_id_bytes
from engine.store.run import Row, execute, fetch

_MAX_LINKS = 10_000_000
"""Limit of links in one plan from tasks to the producers of their inputs."""
_ANY_BLOCK = ""
Place = tuple[int, str]
"""A job id as an integer, and a block key."""
Live = Mapping[Place, Sequence[Row]]


class _Emission(msgspec.Struct, gc=False):
    """A task to be created or joined, with its blockers.

    ``triggering_edges`` has the dirty datasets through which the plan reaches the task, by
    producing job. ``blockers`` has them by blocking task: empty if that task merely has to end
    first.
    """

    job: Job
    place: Place
    keys: tuple[str, ...]
    is_directly_invalidated: bool
    is_if_stale: bool
    propagated: bytes | None
    row_filters: tuple[Mapping[str, Any] | None, ...]
    sources: Sequence[Place]
    triggering_edges: TriggeringEdges
    task_id: bytes = msgspec.field(default_factory=new_id_bytes)
    joins: bool = False
    blockers: dict[bytes, tuple[UUID, ...]] = msgspec.field(default_factory=dict)

    @property
    def must_run(self) -> bool:
        """Return True if invalidated directly, or by upstream tasks already done with the plan."""
        return self.is_directly_invalidated or not (self.is_if_stale or any(self.blockers.values()))

    @property
    def starts_blocked(self) -> bool:
        """Return True if the task has a blocker, or has to be checked before its run."""
        return bool(self.blockers) or self.is_if_stale or self.job.waits_for_inputs


async def emit(
    conn: Connection, org: OrgContext, lineage: Lineage, plan: Plan, plan_id: UUID
) -> int:
    """Write the tasks of a plan and their dependencies; return the number of tasks touched."""
    with gc_paused():
        emissions = list(_emissions(lineage, plan))
        if emissions:
            await _emit(conn, org, lineage, emissions, plan_id)
        return len(emissions)


async def _emit(
    conn: Connection,
    org: OrgContext,
    lineage: Lineage,
    emissions: Sequence[_Emission],
    plan_id: UUID,
) -> None:
    live = await _lock_live(conn, emissions)
    planned = ((each.job, each.keys, each.row_filters) for each in emissions)
    await forget_decisions(conn, lineage, planned)
    _find_open(emissions, live)
    _add_blockers(emissions, live)
    await _join(conn, [each for each in emissions if each.joins], plan_id)
    await _create(conn, org, [each for each in emissions if not each.joins], plan_id)
    await _hold(conn, org, emissions)


def _emissions(lineage: Lineage, plan: Plan) -> Iterator[_Emission]:
    needs, links = cached_step_blocks(), 0
    for step in plan.steps:
        job = lineage.job(step.job)
        propagated = _propagated(step, job)
        if_stale = frozenset(step.if_stale.space.keys(step.if_stale) if step.if_stale else ())
        triggering, straight = triggering_edges_of(step, job), _straight_producers(lineage, job)
        for block_key, keys, must_run in needs(step, job):
            sources = list(_sources(lineage, job, keys, straight))
            links += len(sources)
            _check_links(links)
            yield _Emission(
                job,
                (job.id.int, block_key),
                keys,
                must_run,
                bool(if_stale) and if_stale.issuperset(keys),
                propagated(keys),
                step.row_filters,
                sources,
                triggering(keys),
            )


def _check_links(links: int) -> None:
    if links > _MAX_LINKS:
        raise TooManyPartitions(
            f"the plan links its tasks to more than {_MAX_LINKS:,} tasks that make their inputs; "
            "invalidate fewer partitions at once, or raise partitions_per_task"
        )


def _propagated(step: Step, job: Job) -> Callable[[tuple[str, ...]], bytes | None]:
    """Return a function from task keys to propagated scopes as JSON; most steps have none."""
    if not step.is_narrow:
        return _everything
    scopes_of = propagated_scopes(step, job)

    @cache
    def of_task(keys: tuple[str, ...]) -> bytes | None:
        scopes = scopes_of(keys)
        return None if scopes is None else msgspec.json.encode(scopes)

    return of_task


def _everything(_: tuple[str, ...]) -> None:
    """Return None, the scopes of a step that is not narrow."""


def _sources(
    lineage: Lineage, job: Job, keys: Sequence[str], straight: Sequence[int] | None
) -> Iterator[Place]:
    """Return the places of the tasks that produce a task's inputs."""
    return _mapped_sources(lineage, job, keys) if straight is None else product(straight, keys)


def _straight_producers(lineage: Lineage, job: Job) -> list[int] | None:
    """Return the producers of a job's inputs if all edges map keys to themselves, else None.

    Each producer must also have a separate task for every key. Source jobs are left out.
    """
    if job.is_single_run:
        return None
    producers = []
    for edge in lineage.inputs(job.id):
        producer = edge.producer
        if producer.activation == "source":
            continue
        if not edge.mapping.is_identity or not producer.has_task_for_each_key:
            return None
        producers.append(producer.id.int)
    return producers


def _mapped_sources(lineage: Lineage, job: Job, keys: Sequence[str]) -> Iterator[Place]:
    for producer_id, partitions in upstream(lineage, job, keys).items():
        producer = lineage.job(producer_id)
        if producer.is_single_run:
            yield (producer_id.int, SINGLE_RUN_BLOCK)
        elif partitions is None:
            yield (producer_id.int, _ANY_BLOCK)
        else:
            blocks = partitions.space.blocks(partitions, producer.partitions_per_task)
            yield from ((producer_id.int, block_key) for block_key, _ in blocks)


async def _lock_live(conn: Connection, emissions: Sequence[_Emission]) -> Live:
    """Lock the unfinished tasks at all places; (job, any block) holds all tasks of the job."""
    places = {each.place for each in emissions}
    for each in emissions:
        places.update(each.sources)
    live: dict[Place, list[Row]] = defaultdict(list)
    jobs, block_keys = [_hex(job) for job, _ in places], [block_key for _, block_key in places]
    for row in await fetch(conn, "tasks.lock_live", jobs=jobs, block_keys=block_keys):
        live[row["job_id"].int, row["block_key"]].append(row)
    whole_jobs = [_hex(job) for job, block_key in places if block_key == _ANY_BLOCK]
    if whole_jobs:
        for row in await fetch(conn, "tasks.lock_live_of_jobs", jobs=whole_jobs):
            live[row["job_id"].int, _ANY_BLOCK].append(row)
    return live


def _hex(job: int) -> str:
    """Return a text accepted by PostgreSQL as a UUID."""
    return f"{job:032x}"


def _find_open(emissions: Sequence[_Emission], live: Live) -> None:
    """Join the unstarted or failed task at each place, or queue behind a running one.

    A running task blocks without datasets, because changes since its start show only at its end.
    """
    for each in emissions:
        for row in live.get(each.place, ()):
            if row["status"] == "running":
                each.blockers[row["id"].bytes] = ()
            else:
                each.task_id, each.joins = row["id"].bytes, True


def _add_blockers(emissions: Sequence[_Emission], live: Live) -> None:
    """Make each emission wait for all tasks at its sources, unfinished or about to be created."""
    there = _standing(emissions, live)
    for each in emissions:
        for place in each.sources:
            if place in there:
                datasets = each.triggering_edges.get(place[0], ())
                for task_id in there[place]:
                    each.blockers[task_id] = datasets


def _standing(emissions: Sequence[_Emission], live: Live) -> Mapping[Place, Sequence[bytes]]:
    """Return the ids of the tasks at each place, unfinished or about to be created."""
    there = {place: [row["id"].bytes for row in rows] for place, rows in live.items()}
    whole = {
        job for each in emissions for job, block_key in each.sources if block_key == _ANY_BLOCK
    }
    for each in emissions:
        job, _ = each.place
        there.setdefault(each.place, []).append(each.task_id)
        if job in whole:
            there.setdefault((job, _ANY_BLOCK), []).append(each.task_id)
    return there


async def _join(conn: Connection, joining: Sequence[_Emission], plan_id: UUID) -> None:
    if not joining:
        return
    rows = [
        {
            "id": UUID(bytes=each.task_id),
            "must_run": each.must_run,
            "blocked": each.starts_blocked,
            "partitions": each.keys,
            "row_filters": each.row_filters,
            "propagated": each.propagated and msgspec.Raw(each.propagated),
        }
        for each in joining
    ]
    await execute(conn, "tasks.join", rows=Jsonb(rows), plan_id=plan_id)
    waits = [
        {
            "task_id": UUID(bytes=each.task_id),
            "depends_on": UUID(bytes=blocker),
            "datasets": datasets,
        }
        for each in joining
        for blocker, datasets in each.blockers.items()
    ]
    if waits:
        await execute(conn, "tasks.add_dependencies", rows=Jsonb(waits))


async def _create(
    conn: Connection, org: OrgContext, creating: Sequence[_Emission], plan_id: UUID
) -> None:
    # Keys, datasets and priorities repeat across tasks, so their encodings are cached.
    keys, datasets, number = cache(texts), cache(_bytes_of_all), cache(int4)
    org_id, plan_ids = org.id.bytes, uuids([plan_id.bytes])
    rows = (
        (
            each.task_id,
            each.job.id.bytes,
            "blocked" if each.starts_blocked else "queued",
            keys(each.keys),
            org_id,
            each.job.runtime,
            number(each.job.priority),
            each.place[1],
            each.must_run,
            jsonb(msgspec.json.encode(each.row_filters)),
            each.propagated and jsonb(each.propagated),
            plan_ids,
        )
        for each in creating
    )
    await copy_in(conn, "tasks.copy_in", rows)
    waits = (
        (each.task_id, blocker, datasets(dirty))
        for each in creating
        for blocker, dirty in each.blockers.items()
    )
    await copy_in(conn, "tasks.copy_dependencies", waits)


def _bytes_of_all(datasets: tuple[UUID, ...]) -> bytes:
    return uuids(each.bytes for each in datasets)


async def _hold(conn: Connection, org: OrgContext, emissions: Sequence[_Emission]) -> None:
    """Release initially blocked tasks without blockers, unless inputs are still missing."""
    ready = [
        UUID(bytes=each.task_id) for each in emissions if each.starts_blocked and not each.blockers
    ]
    if ready:
        await unblock_all(conn, org, ready)
