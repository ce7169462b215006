"""Jobs that a plan would run."""

from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Any
from uuid import UUID

import msgspec

from engine.flow.planning.decision import Decision
from engine.flow.planning.estimate import Cost
from engine.lineage.columns import ALL_COLUMNS
from engine.lineage.graph import Lineage
from engine.partitions import PartitionSet
from engine.planner import Step, task_count


class Hop(msgspec.Struct, frozen=True):
    """Path of a change to a job: over ``dataset``, from a job or, if null, from outside.

    ``mapping`` is null if the job's own output is invalidated.
    """

    dataset: str
    from_job: str | None
    mapping: Any


class ImpactedJob(msgspec.Struct, frozen=True):
    """A job that would run; ``partitions`` are ranges as text, ``count`` is their number.

    ``directly_invalidated`` partitions must run, the others run if an input changes. ``columns``
    has the dirty columns by output; all columns of an output without an entry are dirty. A job that
    reads its own earlier partitions goes on with the ``continued`` ones, as far as each run changes
    its output.
    """

    job: str
    dag: str
    outputs: tuple[str, ...]
    partitions: tuple[str, ...]
    directly_invalidated: tuple[str, ...]
    count: int
    continued: tuple[str, ...]
    tasks: int
    columns: Mapping[str, tuple[str, ...]]
    row_filters: tuple[Mapping[str, Any] | None, ...]
    via: tuple[Hop, ...]
    estimate: Cost


def impacted_jobs(
    decision: Decision,
    costs: Mapping[UUID, Cost],
    continued: Mapping[UUID, PartitionSet] = MappingProxyType({}),
) -> tuple[ImpactedJob, ...]:
    """Describe the jobs of a plan, upstream first; ``costs`` and ``continued`` are by job."""
    return tuple(
        _job(decision.lineage, step, costs[step.job], continued.get(step.job))
        for step in decision.plan.steps
    )


def _job(lineage: Lineage, step: Step, cost: Cost, continued: PartitionSet | None) -> ImpactedJob:
    job, space = lineage.job(step.job), lineage.space(lineage.job(step.job).outputs[0])
    # A job with chains has a task for each partition: one for now, the others in turn.
    later = sum(each.partitions.count() for each in step.later)
    return ImpactedJob(
        job=job.name,
        dag=job.dag_name,
        outputs=tuple(lineage.dataset(output).name for output in job.outputs),
        partitions=tuple(space.texts(step.partitions)),
        directly_invalidated=tuple(space.texts(step.directly_invalidated)),
        count=step.partitions.count(),
        continued=() if continued is None else tuple(space.texts(continued)),
        tasks=task_count(step, lineage) + later,
        columns={
            lineage.dataset(output).name: tuple(sorted(dirty))
            for output, dirty in step.dirty_columns(job.outputs).items()
            if dirty is not ALL_COLUMNS
        },
        row_filters=step.row_filters,
        via=tuple(_hops(lineage, step)),
        estimate=cost,
    )


def _hops(lineage: Lineage, step: Step) -> Iterator[Hop]:
    """Return each path to the step once, regardless of the number of changes."""
    seen: set[tuple[UUID, UUID | None]] = set()
    for trigger in step.triggers:
        if (trigger.dataset, trigger.from_job) not in seen:
            seen.add((trigger.dataset, trigger.from_job))
            source = lineage.job(trigger.from_job).name if trigger.from_job else None
            mapping = trigger.mapping.to_spec() if trigger.mapping else None
            yield Hop(lineage.dataset(trigger.dataset).name, source, mapping)
