"""Over which edges a plan has come to each task of a step.

A task waits for more than that: it reads what others leave, too.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from uuid import UUID

from engine.lineage.graph import Lineage
from engine.planner.plan import Hit, Step

Crossed = Mapping[UUID, Sequence[UUID]]
"""By the job that makes them, the datasets that may come out changed and reach a task."""


def crossed_to(step: Step, lineage: Lineage) -> Callable[[Sequence[str]], Crossed]:
    """How to tell what was crossed to the task that makes some keys of the step."""
    hits = [hit for hit in step.via if hit.from_job is not None]
    if lineage.job(step.job).is_unit or all(hit.partitions == step.partitions for hit in hits):
        all_of_them = _by_job(hits)
        return lambda _: all_of_them
    space = step.partitions.space
    keys_hit = [frozenset(space.keys(hit.partitions)) for hit in hits]
    return lambda keys: _by_job(
        hit for hit, its in zip(hits, keys_hit, strict=True) if not its.isdisjoint(keys)
    )


def _by_job(hits: Iterable[Hit]) -> Crossed:
    crossed: dict[UUID, tuple[UUID, ...]] = {}
    for hit in hits:
        if hit.from_job is not None:
            before = crossed.get(hit.from_job, ())
            if hit.dataset not in before:
                crossed[hit.from_job] = (*before, hit.dataset)
    return crossed
