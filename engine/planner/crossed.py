"""Over which edges a plan has come to each task of a step.

A task waits for more than that: it reads what others leave, too.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from uuid import UUID

from engine.lineage.graph import Lineage
from engine.planner.plan import Step, Via

Crossed = Mapping[UUID, Sequence[UUID]]
"""By the job that makes them, the datasets that may come out changed and reach a task."""


def crossed_to(step: Step, lineage: Lineage) -> Callable[[Sequence[str]], Crossed]:
    """How to tell what was crossed to the task that makes some keys of the step."""
    hops = [(via, _keys_hit(via, step, lineage)) for via in step.via if via.from_job is not None]
    if all(keys_hit is None for _, keys_hit in hops):
        all_of_them = _by_job(via for via, _ in hops)
        return lambda _: all_of_them
    return lambda keys: _by_job(
        via for via, keys_hit in hops if keys_hit is None or not keys_hit.isdisjoint(keys)
    )


def _keys_hit(via: Via, step: Step, lineage: Lineage) -> frozenset[str] | None:
    """The keys of the step that a hop hits; None: all."""
    job = lineage.job(step.job)
    if job.is_unit or via.hit == step.partitions:
        return None
    return frozenset(lineage.job_space(job).keys(via.hit))


def _by_job(hops: Iterable[Via]) -> Crossed:
    crossed: dict[UUID, list[UUID]] = {}
    for via in hops:
        if via.from_job is not None and via.dataset not in crossed.setdefault(via.from_job, []):
            crossed[via.from_job].append(via.dataset)
    return crossed
