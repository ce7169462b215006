"""What a change would hit, before it is made: the very plan that would be applied, unwritten."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from engine.api.pruning import PrunedEdge, pruned_edges
from engine.errors import InvalidInput
from engine.flow.coalesce import coalesce
from engine.flow.plan import decide
from engine.flow.resolve import resolve
from engine.flow.scene import Scene
from engine.lineage.graph import Lineage
from engine.model.event import Received, SourceEvent
from engine.model.invalidation import Invalidation
from engine.planner import Plan, Step, document, needs
from engine.store.database import Connection
from engine.store.ids import new_id


@dataclass(frozen=True, slots=True)
class Hop:
    """How a change comes to a job: over ``dataset``, from a job or, where null, from outside.

    ``mapping`` null: the job's own output is what is wrong.
    """

    dataset: str
    from_job: str | None
    mapping: Any


@dataclass(frozen=True, slots=True)
class ImpactedJob:
    """A job that would run. ``partitions`` are range texts, ``count`` how many they hold.

    ``direct`` ones run for sure; the others only if what they read comes out changed. ``columns``
    are dirty, by output; an output that is missing there is dirty in all of them.
    """

    job: str
    dag: str
    outputs: tuple[str, ...]
    partitions: tuple[str, ...]
    direct: tuple[str, ...]
    count: int
    tasks: int
    columns: Mapping[str, tuple[str, ...]]
    row_filters: tuple[Mapping[str, Any] | None, ...]
    via: tuple[Hop, ...]


@dataclass(frozen=True, slots=True)
class Impact:
    """Jobs come parents first; ``pruned`` are the edges at which the change stops."""

    event: SourceEvent
    jobs: tuple[ImpactedJob, ...]
    pruned: tuple[PrunedEdge, ...]
    tasks: int


async def impact(conn: Connection, scene: Scene, event: SourceEvent) -> Impact:
    """Work out what an event would hit, and write nothing. Raises InvalidInput as ingest would."""
    async with conn.transaction():
        lineage = await scene.lineage(conn)
        plan = await decide(conn, lineage, list(_invalidations(lineage, event)), {})
    jobs = tuple(_job(lineage, step) for step in plan.steps)
    return Impact(event, jobs, tuple(_pruned(lineage, plan)), sum(each.tasks for each in jobs))


def _invalidations(lineage: Lineage, event: SourceEvent) -> Iterator[Invalidation]:
    resolved = resolve(lineage, Received(event=event, stream="impact", position="0"))
    if not resolved.served:
        raise InvalidInput(
            f"version {event.version} of dataset {event.dataset!r} is not the one that is served: "
            "a change to it hits nothing"
        )
    for fact in coalesce([resolved]):
        for text in fact.texts:
            yield Invalidation(
                id=new_id(),
                dataset=fact.dataset,
                version=fact.version,
                reason=event.reason,
                partition_key=text,
                columns=fact.columns,
                row_filter=fact.rows,
            )


def _job(lineage: Lineage, step: Step) -> ImpactedJob:
    job, space = lineage.job(step.job), lineage.space(lineage.job(step.job).outputs[0])
    return ImpactedJob(
        job=job.name,
        dag=job.dag_name,
        outputs=tuple(lineage.dataset(each).name for each in job.outputs),
        partitions=tuple(space.texts(step.partitions)),
        direct=tuple(space.texts(step.direct)),
        count=step.partitions.count(),
        tasks=sum(1 for _ in needs(step, lineage)),
        columns={
            lineage.dataset(output).name: tuple(sorted(dirty))
            for output, dirty in step.columns.items()
            if dirty is not None
        },
        row_filters=step.row_filters,
        via=tuple(_hops(lineage, step)),
    )


def _hops(lineage: Lineage, step: Step) -> Iterator[Hop]:
    """Each way in once, however many kinds of dirt came over it."""
    seen: set[tuple[UUID, UUID | None]] = set()
    for via in step.via:
        if (via.dataset, via.from_job) not in seen:
            seen.add((via.dataset, via.from_job))
            source = lineage.job(via.from_job).name if via.from_job else None
            mapping = via.mapping.to_spec() if via.mapping else None
            yield Hop(lineage.dataset(via.dataset).name, source, mapping)


def _pruned(lineage: Lineage, plan: Plan) -> Iterator[PrunedEdge]:
    return pruned_edges(document(plan, lineage))
