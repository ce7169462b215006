"""Edges over which a plan triggers each task of a step.

A task waits for more than the jobs behind these edges, because it also reads other inputs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from uuid import UUID

from engine.model.job import Job
from engine.planner.plan import Step, Trigger

TriggeringEdges = Mapping[int, tuple[UUID, ...]]
"""By producing job, the datasets that may come out changed and reach a task.

Jobs are keyed by the integers of their ids, which hash in C, where a UUID hashes in Python.
"""


def triggering_edges_of(step: Step, job: Job) -> Callable[[Sequence[str]], TriggeringEdges]:
    """Return a function from the keys of a task to the edges that trigger it."""
    triggers = [trigger for trigger in step.triggers if trigger.from_job is not None]
    if job.is_single_run or all(trigger.partitions == step.partitions for trigger in triggers):
        all_of_them = _by_job(triggers)
        return lambda _: all_of_them
    space = step.partitions.space
    keys_triggered = [frozenset(space.keys(trigger.partitions)) for trigger in triggers]
    return lambda keys: _by_job(
        trigger
        for trigger, its in zip(triggers, keys_triggered, strict=True)
        if not its.isdisjoint(keys)
    )


def _by_job(triggers: Iterable[Trigger]) -> TriggeringEdges:
    datasets: dict[int, tuple[UUID, ...]] = {}
    for trigger in triggers:
        if trigger.from_job is not None:
            before = datasets.get(trigger.from_job.int, ())
            if trigger.dataset not in before:
                datasets[trigger.from_job.int] = (*before, trigger.dataset)
    return datasets
