"""Edges over which a plan triggers each task of a step.

A task waits for more than the jobs behind these edges, because it also reads other inputs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from uuid import UUID

from engine.model.job import Job
from engine.planner.plan import Hit, Step

TriggeringEdges = Mapping[int, tuple[UUID, ...]]
"""By producing job, the datasets that may come out changed and reach a task.

Jobs are keyed by the integers of their ids, which hash in C, where a UUID hashes in Python.
"""


def triggering_edges_of(step: Step, job: Job) -> Callable[[Sequence[str]], TriggeringEdges]:
    """Return a function from the keys of a task to the edges crossed to it."""
    hits = [hit for hit in step.via if hit.from_job is not None]
    if job.is_single_run or all(hit.partitions == step.partitions for hit in hits):
        all_of_them = _by_job(hits)
        return lambda _: all_of_them
    space = step.partitions.space
    keys_hit = [frozenset(space.keys(hit.partitions)) for hit in hits]
    return lambda keys: _by_job(
        hit for hit, its in zip(hits, keys_hit, strict=True) if not its.isdisjoint(keys)
    )


def _by_job(hits: Iterable[Hit]) -> TriggeringEdges:
    crossed: dict[int, tuple[UUID, ...]] = {}
    for hit in hits:
        if hit.from_job is not None:
            before = crossed.get(hit.from_job.int, ())
            if hit.dataset not in before:
                crossed[hit.from_job.int] = (*before, hit.dataset)
    return crossed
