"""Emit: the steps of a plan become tasks, new ones or ones that had not started yet.

At most one open, unstarted task stands for a job and slot: a new need joins it. A running one may
have read the old data, so a new task queues behind it. A task waits for whatever is unfinished
among the tasks that make its inputs, whichever plan they came from.

There may be 50,000 of them, each asked for many times. So tasks go by the bytes of their ids, as
COPY wants them, and jobs by the integers of theirs: both hash in C, where a UUID hashes in Python.
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
from engine.flow.leave import forget_decisions
from engine.flow.scene import Scene
from engine.flow.settle import release, settle
from engine.gc_pause import gc_paused
from engine.lineage.graph import Lineage
from engine.model.job import Job
from engine.planner import (
    Crossed,
    Plan,
    Step,
    crossed_to,
    needs_of_steps,
    propagated_scopes,
    upstream,
)
from engine.planner.tasks import WHOLE
from engine.store.copying import copy_in, int4, jsonb, texts, uuids
from engine.store.database import Connection
from engine.store.ids import new_id_bytes
from engine.store.run import Row, execute, fetch

_MAX_LINKS = 10_000_000
"""From tasks to those that make their inputs, in one plan."""
_ANY_SLOT = ""
Place = tuple[int, str]
"""A job, by its id's integer, and a slot."""
Live = Mapping[Place, Sequence[Row]]


class _Emission(msgspec.Struct, gc=False):
    """A need on its way to be a task: where, with what, and what stands in front of it.

    ``crossed`` are the dirty datasets that the plan came over, by the job that makes them;
    ``front`` holds those by task in front: none where it only has to go first.
    """

    job: Job
    place: Place
    keys: tuple[str, ...]
    is_sure: bool
    is_if_stale: bool
    propagated: bytes | None
    row_filters: tuple[Mapping[str, Any] | None, ...]
    sources: Sequence[Place]
    crossed: Crossed
    task_id: bytes = msgspec.field(default_factory=new_id_bytes)
    joins: bool = False
    front: dict[bytes, tuple[UUID, ...]] = msgspec.field(default_factory=dict)

    @property
    def must_run(self) -> bool:
        """Hit directly; or through parents that have done their part of this plan already."""
        return self.is_sure or not (self.is_if_stale or any(self.front.values()))

    @property
    def starts_blocked(self) -> bool:
        """Something is in front, or it is to be looked at whether it may run."""
        return bool(self.front) or self.is_if_stale or self.job.holds


async def emit(
    conn: Connection, scene: Scene, lineage: Lineage, decided: Plan, plan_id: UUID
) -> int:
    """Write the tasks of a plan and what they wait for; returns how many tasks it touches."""
    with gc_paused():
        emissions = list(_emissions(lineage, decided))
        if emissions:
            await _emit(conn, scene, lineage, emissions, plan_id)
        return len(emissions)


async def _emit(
    conn: Connection,
    scene: Scene,
    lineage: Lineage,
    emissions: Sequence[_Emission],
    plan_id: UUID,
) -> None:
    live = await _lock_live(conn, emissions)
    planned = ((each.job, each.keys, each.row_filters) for each in emissions)
    await forget_decisions(conn, lineage, planned)
    _find_open(emissions, live)
    _put_in_front(emissions, live)
    await _join(conn, [each for each in emissions if each.joins], plan_id)
    await _create(conn, scene, [each for each in emissions if not each.joins], plan_id)
    await _hold(conn, scene, emissions)


def _emissions(lineage: Lineage, decided: Plan) -> Iterator[_Emission]:
    needs, links = needs_of_steps(), 0
    for step in decided.steps:
        job = lineage.job(step.job)
        propagated = _propagated(step, job)
        if_stale = frozenset(step.if_stale.space.keys(step.if_stale) if step.if_stale else ())
        crossed, straight = crossed_to(step, job), _straight_producers(lineage, job)
        for slot, keys, is_sure in needs(step, job):
            sources = list(_sources(lineage, job, keys, straight))
            links += len(sources)
            _check_links(links)
            yield _Emission(
                job,
                (job.id.int, slot),
                keys,
                is_sure,
                bool(if_stale) and if_stale.issuperset(keys),
                propagated(keys),
                step.row_filters,
                sources,
                crossed(keys),
            )


def _check_links(links: int) -> None:
    if links > _MAX_LINKS:
        raise TooManyPartitions(
            f"the plan links its tasks to more than {_MAX_LINKS:,} tasks that make their inputs; "
            "invalidate fewer partitions at once, or raise partitions_per_task"
        )


def _propagated(step: Step, job: Job) -> Callable[[tuple[str, ...]], bytes | None]:
    """Return the function that gives a task's propagated scopes as JSON; most steps have none."""
    if not step.is_narrow:
        return _everything
    scopes_of = propagated_scopes(step, job)

    @cache
    def of_task(keys: tuple[str, ...]) -> bytes | None:
        scopes = scopes_of(keys)
        return None if scopes is None else msgspec.json.encode(scopes)

    return of_task


def _everything(_: tuple[str, ...]) -> None:
    """The scopes of a step that is not narrow."""


def _sources(
    lineage: Lineage, job: Job, keys: Sequence[str], straight: Sequence[int] | None
) -> Iterator[Place]:
    """The places of the tasks that make what a task reads."""
    return _mapped_sources(lineage, job, keys) if straight is None else product(straight, keys)


def _straight_producers(lineage: Lineage, job: Job) -> list[int] | None:
    """Who makes what a job reads, where a key is made of the same keys, each by its own task."""
    if job.is_unit:
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
        if producer.is_unit:
            yield (producer_id.int, WHOLE)
        elif partitions is None:
            yield (producer_id.int, _ANY_SLOT)
        else:
            blocks = partitions.space.blocks(partitions, producer.partitions_per_task)
            yield from ((producer_id.int, slot) for slot, _ in blocks)


async def _lock_live(conn: Connection, emissions: Sequence[_Emission]) -> Live:
    """The unfinished tasks at all these places; under (job, any slot) all those of the job."""
    places = {each.place for each in emissions}
    for each in emissions:
        places.update(each.sources)
    live: dict[Place, list[Row]] = defaultdict(list)
    jobs, slots = [_hex(job) for job, _ in places], [slot for _, slot in places]
    for row in await fetch(conn, "tasks.lock_live", jobs=jobs, slots=slots):
        live[row["job_id"].int, row["slot"]].append(row)
    whole_jobs = [_hex(job) for job, slot in places if slot == _ANY_SLOT]
    if whole_jobs:
        for row in await fetch(conn, "tasks.lock_live_of_jobs", jobs=whole_jobs):
            live[row["job_id"].int, _ANY_SLOT].append(row)
    return live


def _hex(job: int) -> str:
    """The text of a UUID, to PostgreSQL."""
    return f"{job:032x}"


def _find_open(emissions: Sequence[_Emission], live: Live) -> None:
    """Where a place has an unstarted or failed task, that one is joined; a running one goes first.

    What the new one has to find out, whether anything has changed since, shows when that has ended.
    """
    for each in emissions:
        for row in live.get(each.place, ()):
            if row["status"] == "running":
                each.front[row["id"].bytes] = ()
            else:
                each.task_id, each.joins = row["id"].bytes, True


def _put_in_front(emissions: Sequence[_Emission], live: Live) -> None:
    """Have each wait for all that is unfinished, or about to be made, at its sources."""
    there = _standing(emissions, live)
    for each in emissions:
        for place in each.sources:
            if place in there:
                datasets = each.crossed.get(place[0], ())
                for task_id in there[place]:
                    each.front[task_id] = datasets


def _standing(emissions: Sequence[_Emission], live: Live) -> Mapping[Place, Sequence[bytes]]:
    """The tasks at each place, those that are unfinished and those about to be made."""
    there = {place: [row["id"].bytes for row in rows] for place, rows in live.items()}
    whole = {job for each in emissions for job, slot in each.sources if slot == _ANY_SLOT}
    for each in emissions:
        job, _ = each.place
        there.setdefault(each.place, []).append(each.task_id)
        if job in whole:
            there.setdefault((job, _ANY_SLOT), []).append(each.task_id)
    return there


async def _join(conn: Connection, joining: Sequence[_Emission], plan_id: UUID) -> None:
    if not joining:
        return
    rows = [
        {
            "id": UUID(bytes=each.task_id),
            "hit": each.must_run,
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
            "depends_on": UUID(bytes=front),
            "datasets": datasets,
        }
        for each in joining
        for front, datasets in each.front.items()
    ]
    if waits:
        await execute(conn, "tasks.add_dependencies", rows=Jsonb(waits))


async def _create(
    conn: Connection, scene: Scene, creating: Sequence[_Emission], plan_id: UUID
) -> None:
    # The same keys, datasets and so on come again and again.
    keys, datasets, number = cache(texts), cache(_bytes_of_all), cache(int4)
    org_id, plan_ids = scene.org_id.bytes, uuids([plan_id.bytes])
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
        (each.task_id, front, datasets(crossed))
        for each in creating
        for front, crossed in each.front.items()
    )
    await copy_in(conn, "tasks.copy_dependencies", waits)


def _bytes_of_all(datasets: tuple[UUID, ...]) -> bytes:
    return uuids(each.bytes for each in datasets)


async def _hold(conn: Connection, scene: Scene, emissions: Sequence[_Emission]) -> None:
    """Release those that start blocked with nothing in front, unless they are still to wait."""
    ready = [
        UUID(bytes=each.task_id) for each in emissions if each.starts_blocked and not each.front
    ]
    if ready:
        released = await release(conn, scene, ready)
        await settle(conn, scene, [row["id"] for row in released if row["status"] == "skipped"])
