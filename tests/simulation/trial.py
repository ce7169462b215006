"""Trial: a world and a history generated from a seed, run, and shrunk on failure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from dataclasses import replace as replace_job
from datetime import datetime, timedelta
from random import Random
from typing import Any
from uuid import uuid4

from psycopg.errors import UniqueViolation

from engine.store.database import Database
from tests.simulation.being import boundaries
from tests.simulation.fingerprints import with_fingerprints
from tests.simulation.history import DRILLS, PHRASES, Step, drill, history, with_versions
from tests.simulation.invariants import Broken, law_of
from tests.simulation.pauses import with_debounce, with_pauses
from tests.simulation.reach import features
from tests.simulation.simulation import Simulation, run_in_turns
from tests.simulation.world import Job, Output, World
from tests.simulation.worlds import (
    WORLDS,
    bounded_world,
    chained_world,
    listed_world,
    scheduled_world,
    tiny_world,
    windowed_world,
    with_empty_partitions,
    world,
    world_in_time,
    world_of_grids,
)

_FAILED_PARTITION = (
    "burst ingest ingest ingest ingest plan claim claim give_up give_up give_up rest"
)
"""Verbs that let the first of several changed partitions fail, and then complete all other work."""


@dataclass
class Trial:
    """Input of a trial, and its outcome after `run`."""

    world: World
    steps: Sequence[Step]
    is_calm: bool = False
    has_twin: bool = False
    """A second org runs the same trial concurrently on the same database."""
    is_mending: bool = False
    """The audit repairs lost partitions at rest, before tables are compared."""
    has_report_gaps: bool = False
    """Workers leave gaps in their reports, and ``Full`` jobs find fewer partitions."""
    moment: datetime | None = None
    """The initial time by which partitions come into being; None: the real time."""
    failure: Exception | None = None
    log: list[str] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)

    @staticmethod
    def of(seed: int) -> Trial:
        """Return the trial of a seed.

        Every second trial is a drill; drills take turns, and two thirds of them are calm. In every
        fifth trial, reports have gaps; in every tenth, operators pause jobs and datasets, and the
        invalidations of some datasets are gathered; in every other tenth, DAGs are undeployed and
        versions removed; in every twentieth, windows begin and end, in every twentieth, bounds
        and key lists change, in every twentieth, jobs ignore failures of inputs, in every
        twentieth, jobs read their own earlier partitions, and in every fortieth, events have
        fingerprints, and in every fortieth, sources have schedules.
        """
        every_twentieth = {10: Trial.of_chains, 14: Trial.in_time, 16: Trial.of_bounds}
        every_twentieth[19] = Trial.of_failures
        every_fortieth = {20: Trial.of_fingerprints, 24: Trial.of_schedules}
        if kind_of := every_fortieth.get(seed % 40) or every_twentieth.get(seed % 20):
            return kind_of(seed)
        has_report_gaps = seed % 10 in (5, 6)
        if seed % 2:
            kind, phrase = DRILLS[seed // 2 % len(DRILLS)]
            is_calm = Random(f"calm {seed}").random() < 0.67
            steps = drill(seed, phrase)
            return Trial(
                WORLDS[kind](seed), steps, is_calm=is_calm, has_report_gaps=has_report_gaps
            )
        generated = with_empty_partitions(world(seed)) if has_report_gaps else world(seed)
        steps: Sequence[Step] = history(seed)
        if seed % 10 == 8:
            generated, steps = with_debounce(seed, generated), with_pauses(seed, steps)
        elif seed % 10 == 2:
            steps = with_versions(seed, steps)
        return Trial(generated, steps, has_twin=seed % 20 == 4, has_report_gaps=has_report_gaps)

    @staticmethod
    def of_grids(seed: int) -> Trial:
        """Return the trial of a seed in a world of more grids."""
        return Trial(world_of_grids(seed), history(seed))

    @staticmethod
    def of_fingerprints(seed: int) -> Trial:
        """Return a trial in which events describe the data of most sources by fingerprints."""
        rng = Random(f"fingerprints {seed}")
        generated = with_fingerprints(rng, world(seed))
        steps: list[Step] = []
        for step in history(seed):
            steps.append(step)
            verbs = ["", "describe", "publish", "ingest", "plan", "claim expire"]
            (chosen,) = rng.choices(verbs, [55, 10, 10, 10, 10, 5])
            steps += [Step(verb, rng.randrange(2**32)) for verb in chosen.split()]
        return Trial(generated, steps, is_calm=rng.random() < 0.3)

    @staticmethod
    def of_chains(seed: int) -> Trial:
        """Return a trial in which jobs read their own earlier partitions."""
        rng = Random(f"chains {seed}")
        steps: list[Step] = []
        for step in history(seed):
            steps.append(step)
            verbs = ["", "plan", "claim", "finish", "touch", "grow", "expire", _FAILED_PARTITION]
            (chosen,) = rng.choices(verbs, [50, 10, 10, 10, 10, 10, 4, 3])
            steps += [Step(name, rng.randrange(2**32)) for name in chosen.split()]
        return Trial(chained_world(seed), steps, is_calm=rng.random() < 0.4)

    @staticmethod
    def of_bounds(seed: int) -> Trial:
        """Return a trial with changes of bounds and key lists during the history."""
        rng = Random(f"bounds {seed}")
        steps: list[Step] = []
        for step in history(seed):
            steps.append(step)
            change = rng.choices(["", "bound_otherwise", "roll_back"], [78, 20, 2])
            steps += [Step(verb, rng.randrange(2**32)) for verb in change if verb]
        worlds = rng.choice([world, world, bounded_world, windowed_world, tiny_world, listed_world])
        return Trial(worlds(seed), steps, is_calm=rng.random() < 0.5)

    @staticmethod
    def in_time(seed: int) -> Trial:
        """Return a trial with windows that begin and end during the history."""
        rng, world = Random(f"time {seed}"), world_in_time(seed)
        times = boundaries(world)
        moment = times[rng.randrange(len(times) // 2 + 1)] + timedelta(minutes=rng.choice([0, 30]))
        steps: list[Step] = []
        for step in history(seed):
            steps.append(step)
            passing = rng.choices(["", "pass_time", "begin", "appear_otherwise"], [75, 9, 10, 1])
            steps += [Step(verb, rng.randrange(2**32)) for verb in passing if verb]
        return Trial(world, steps, moment=moment)

    @staticmethod
    def of_schedules(seed: int) -> Trial:
        """Return a trial in time with sources that change by a schedule."""
        rng, scheduled = Random(f"schedules {seed}"), scheduled_world(seed)
        times = boundaries(scheduled)
        steps: list[Step] = []
        for step in Trial.in_time(seed).steps:
            steps.append(step)
            verbs = rng.choices(["", "fire", "pass_time"], [80, 15, 5])
            steps += [Step(verb, rng.randrange(2**32)) for verb in verbs if verb]
        return Trial(scheduled, steps, moment=times[rng.randrange(len(times) // 2 + 1)])

    @staticmethod
    def of_failures(seed: int) -> Trial:
        """Return a trial in which many tasks fail, and jobs ignore failures of some inputs."""
        rng = Random(f"failures {seed}")
        generated = world(seed)
        jobs = tuple(
            replace_job(
                job,
                reads=tuple(
                    replace_job(read, ignores_failure=rng.random() < 0.8) for read in job.reads
                ),
            )
            for job in generated.jobs
        )
        steps: list[Step] = []
        for step in history(seed):
            steps.append(step)
            verbs = ["", "give_up", "retry_any", "touch", "change_job", "result_after_its_readers"]
            (verb,) = rng.choices(verbs, [70, 16, 5, 6, 3, 8])
            names = PHRASES.get(verb, (verb,)) if verb else ()
            steps += [Step(name, rng.randrange(2**32)) for name in names]
        return Trial(World(jobs), steps, has_report_gaps=rng.random() < 0.3)

    @staticmethod
    def of_deploys(seed: int) -> Trial:
        """Return a trial in which DAGs that read each other are deployed together."""
        rng = Random(f"deploys {seed}")
        jobs = tuple(
            replace_job(job, dag=rng.choice(["one", "two", "three"])) for job in world(seed).jobs
        )
        steps: list[Step] = []
        for step in history(seed):
            steps.append(step)
            verb = rng.choices(["", "deploy_together", "touch"], [82, 14, 4])[0]
            steps += [Step(name, rng.randrange(2**32)) for name in [verb] if name]
        return Trial(World(jobs), steps, is_calm=rng.random() < 0.4)

    async def run(self, database: Database) -> Trial:
        """Run the trial in a new org, recording any error as its failure."""
        simulations = [await self._start(database) for _ in range(1 + self.has_twin)]
        try:
            await run_in_turns(simulations, self.steps)
        except Exception as error:  # any error is a finding
            self.failure = error
        for simulation in simulations:
            self.log += simulation.log
            self.counts += simulation.counts
        self.counts += features(self.world) + Counter({"two orgs": int(self.has_twin)})
        return self

    async def _start(self, database: Database) -> Simulation:
        name = f"sim-{uuid4().hex}"
        return await Simulation.start(
            database,
            self.world,
            name,
            is_calm=self.is_calm,
            is_mending=self.is_mending,
            has_report_gaps=self.has_report_gaps,
            moment=self.moment,
        )

    @property
    def breaks_a_law(self) -> bool:
        """Return whether the engine violated a law, as opposed to any other error."""
        return isinstance(self.failure, (Broken, UniqueViolation))

    @property
    def law(self) -> str:
        """Return the violated law, or the type of any other error."""
        return law_of(self.failure)


def replace(trial: Trial, **changes: Any) -> Trial:
    """Return a copy with changes, not yet run."""
    fields = {"world": trial.world, "steps": trial.steps, "is_calm": trial.is_calm}
    fields |= {"has_twin": trial.has_twin, "is_mending": trial.is_mending}
    fields |= {"has_report_gaps": trial.has_report_gaps, "moment": trial.moment}
    return Trial(**fields | changes)


async def shrunk(trial: Trial, database: Database, max_attempts: int = 200) -> Trial:
    """Return a smaller trial violating the same law: fewer jobs, fewer steps, no interruptions."""
    best = trial
    reductions = _reductions(best)
    for _ in range(max_attempts):
        other = next(reductions, None)
        if other is None:
            break
        try:
            await other.run(database)
        except Exception:  # some shrunk worlds cannot be deployed
            continue
        if other.failure is not None and other.law == trial.law:
            best = other
            reductions = _reductions(best)
    return best


async def delete_all_data(database: Database) -> None:
    """Remove all data of trials from a database."""
    async with database.connection() as conn:
        await conn.execute(b"TRUNCATE orgs, task_dependencies, task_inputs CASCADE")


def _reductions(trial: Trial) -> Iterator[Trial]:
    """Iterate over smaller trials, beginning with the greatest reductions."""
    steps = list(trial.steps)
    if not trial.is_calm:
        yield replace(trial, is_calm=True)
    for job in trial.world.leaves():
        yield replace(trial, world=trial.world.without(job.name))
    size = len(steps) // 2
    while size:
        for start in range(0, len(steps), size):
            yield replace(trial, steps=steps[:start] + steps[start + size :])
        size //= 2
    for job in trial.world.derived_jobs:
        for other in _simpler(job):
            yield replace(trial, world=trial.world.replacing(other))


def _simpler(job: Job) -> Iterator[Job]:
    for read in job.reads:
        if len(job.reads) > 1:
            remaining = tuple(other for other in job.reads if other != read)
            outputs = tuple(_without(output, read.dataset) for output in job.outputs)
            yield replace_job(job, reads=remaining, outputs=outputs)
    if job.per_task > 1:
        yield replace_job(job, per_task=1)


def _without(output: Output, dataset: str) -> Output:
    if output.lineage is None:
        return output
    lineage = tuple((c, tuple(p for p in pairs if p[0] != dataset)) for c, pairs in output.lineage)
    return Output(output.name, output.columns, lineage)
