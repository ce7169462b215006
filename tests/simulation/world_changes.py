"""Changes of a world by a deploy, each with a randomly chosen job or source."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from random import Random
from typing import Any

from tests.simulation.dimensions import Dimension
from tests.simulation.generate import another_job
from tests.simulation.mapping import Read
from tests.simulation.world import ADDED, APPEARANCES, Job, Output, World


def without_leaf(world: World, rng: Random) -> World:
    """Return the world without a leaf, keeping at least one job and one source."""
    jobs, sources = world.derived_jobs if len(world.derived_jobs) > 1 else [], world.sources[1:]
    sources = [job for job in sources if job.covers is None]
    removable = [job for job in world.leaves() if job in [*jobs, *sources]]
    return world.without(rng.choice(removable).name) if removable else world


def with_additional_job(world: World, rng: Random) -> World:
    return World((*world.jobs, another_job(rng, world)))


def without_wait_for(world: World, rng: Random) -> World:
    waiting = [j for j in world.derived_jobs if any(r.wait_for != "any" for r in j.reads)]
    return _with_changed_job(
        world, rng, waiting, lambda job: {"reads": tuple(map(_without_wait, job.reads))}
    )


def with_other_task_size(world: World, rng: Random) -> World:
    return _with_changed_job(
        world,
        rng,
        [job for job in world.derived_jobs if job.own_read is None],
        lambda _: {"per_task": rng.choice([1, 2, 3])},
    )


def without_windows(world: World, rng: Random) -> World:
    windowed = [j for j in world.derived_jobs if any(map(_has_window, j.upstream_reads))]
    return _with_changed_job(
        world,
        rng,
        windowed,
        lambda job: {"reads": tuple(r if r == job.own_read else _narrowed(r) for r in job.reads)},
    )


def with_other_activation(world: World, rng: Random) -> World:
    return _with_changed_job(
        world, rng, world.derived_jobs, lambda job: {"is_manual": not job.is_manual}
    )


def with_other_appearance(world: World, rng: Random) -> World:
    appearing = [job for job in world.derived_jobs if any(d.kind == "time" for d in job.space)]
    return _with_changed_job(world, rng, appearing, lambda _: {"appears": rng.choice(APPEARANCES)})


def with_other_code(world: World, rng: Random, among: Sequence[Job] = ()) -> World:
    among = among or world.derived_jobs
    return _with_changed_job(world, rng, among, lambda job: {"salt": job.salt + 1000})


def with_other_storage(world: World, rng: Random) -> World:
    return _with_changed_job(world, rng, world.sources, lambda job: {"salt": job.salt + 1})


def with_wider_source(world: World, rng: Random) -> World:
    ending = [job for job in world.sources if any(map(_can_widen, job.space))]
    return _with_changed_job(
        world, rng, ending, lambda job: {"space": tuple(map(_longer, job.space))}
    )


def with_narrower_source(world: World, rng: Random) -> World:
    longer = [job for job in world.sources if any(map(_can_narrow, job.space))]
    return _with_changed_job(
        world, rng, longer, lambda job: {"space": tuple(map(_shorter, job.space))}
    )


def with_other_columns(world: World, rng: Random, among: Sequence[Job] = ()) -> World:
    """Return the world with a column added to, or removed from, a dataset."""
    declaring = [job for job in among or world.jobs if job.declares_columns]
    return _with_changed_job(world, rng, declaring, lambda job: {"outputs": _altered(*job.outputs)})


def _with_changed_job(
    world: World, rng: Random, among: Sequence[Job], changes: Callable[[Job], dict[str, Any]]
) -> World:
    if not among:
        return world
    job = rng.choice(among)
    return world.replacing(replace(job, **changes(job)))


def _can_widen(d: Dimension) -> bool:
    return d.is_ordered and d.bounds[1] is not None and d.bounds[1] < len(d.grid) - 1


def _longer(d: Dimension) -> Dimension:
    return replace(d, bounds=(d.bounds[0], (d.bounds[1] or 0) + 1)) if _can_widen(d) else d


def _can_narrow(d: Dimension) -> bool:
    return d.is_ordered and d.is_finite and len(d.universe) > 2


def _shorter(d: Dimension) -> Dimension:
    return replace(d, bounds=(d.bounds[0], (d.bounds[1] or 0) - 1)) if _can_narrow(d) else d


def _altered(first: Output, *others: Output) -> tuple[Output, ...]:
    """Return the outputs with the additional column added to, or removed from, the first."""
    if ADDED in first.columns:
        columns = tuple(column for column in first.columns if column != ADDED)
        lineage = first.lineage and tuple(pair for pair in first.lineage if pair[0] != ADDED)
    else:
        columns = (*first.columns, ADDED)
        lineage = first.lineage and tuple(sorted((*first.lineage, (ADDED, ()))))
    return replace(first, columns=columns, lineage=lineage), *others


def _without_wait(read: Read) -> Read:
    return replace(read, wait_for="any")


def _has_window(read: Read) -> bool:
    return any(link.window for link in read.links)


def _narrowed(read: Read) -> Read:
    if not _has_window(read):
        return read
    links = tuple(replace(link, window=None) for link in read.links)
    return replace(read, links=links, spec="identity")
