"""One trial: a world and a history out of a seed, run, and made smaller where it fails."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from dataclasses import replace as replace_job
from random import Random
from typing import Any
from uuid import uuid4

from psycopg.errors import UniqueViolation

from engine.store.database import Database
from tests.simulation.history import DRILLS, Step, drill, history
from tests.simulation.invariants import Broken
from tests.simulation.reach import features
from tests.simulation.simulation import Simulation, side_by_side
from tests.simulation.world import Job, Output, World
from tests.simulation.worlds import WORLDS, finding_less, world


@dataclass
class Trial:
    """What to run, and after `run` what came of it."""

    world: World
    steps: Sequence[Step]
    is_calm: bool = False
    has_twin: bool = False
    """Whether another org lives through the same at the same time, on the same database."""
    is_mending: bool = False
    """Whether the audit repairs lost partitions at rest, before the tables are compared."""
    is_terse: bool = False
    """Whether workers leave gaps in their reports, and ``Full`` jobs find fewer partitions."""
    failure: Exception | None = None
    log: list[str] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)

    @staticmethod
    def of(seed: int) -> Trial:
        """Every second one is a drill; the drills take turns, and two of three of them are calm.

        In one of five, reports have gaps.
        """
        is_terse = seed % 10 in (5, 6)
        if seed % 2:
            kind, phrase = DRILLS[seed // 2 % len(DRILLS)]
            is_calm = Random(f"calm {seed}").random() < 0.67
            steps = drill(seed, phrase)
            return Trial(WORLDS[kind](seed), steps, is_calm=is_calm, is_terse=is_terse)
        made = finding_less(world(seed)) if is_terse else world(seed)
        return Trial(made, history(seed), has_twin=seed % 20 == 4, is_terse=is_terse)

    async def run(self, database: Database) -> Trial:
        """Live through it, in an org of its own; whatever goes wrong is its failure."""
        simulations = [await self._begun(database) for _ in range(1 + self.has_twin)]
        try:
            await side_by_side(simulations, self.steps)
        except Exception as error:  # an error of any kind is a finding
            self.failure = error
        for simulation in simulations:
            self.log += simulation.log
            self.counts += simulation.counts
        self.counts += features(self.world) + Counter({"two orgs": int(self.has_twin)})
        return self

    async def _begun(self, database: Database) -> Simulation:
        name = f"sim-{uuid4().hex}"
        return await Simulation.begun(
            database,
            self.world,
            name,
            is_calm=self.is_calm,
            is_mending=self.is_mending,
            is_terse=self.is_terse,
        )

    @property
    def breaks_a_law(self) -> bool:
        """Whether the engine was seen to err, and did not stop with an error of any other kind."""
        return isinstance(self.failure, (Broken, UniqueViolation))

    @property
    def law(self) -> str:
        """What was broken, in one word for all trials that break it."""
        if isinstance(self.failure, Broken):
            return self.failure.law
        return repr(type(self.failure))


def replace(trial: Trial, **changes: Any) -> Trial:
    """The same with something else, not yet run."""
    given = {"world": trial.world, "steps": trial.steps, "is_calm": trial.is_calm}
    given |= {"has_twin": trial.has_twin, "is_mending": trial.is_mending}
    given |= {"is_terse": trial.is_terse}
    return Trial(**given | changes)


async def shrunk(trial: Trial, database: Database, most: int = 200) -> Trial:
    """A smaller trial that breaks the same law: fewer jobs, fewer steps, no interruptions."""
    best = trial
    tries = _tries(best)
    for _ in range(most):
        other = next(tries, None)
        if other is None:
            break
        try:
            await other.run(database)
        except Exception:  # a world that cannot even be deployed
            continue
        if other.failure is not None and other.law == trial.law:
            best = other
            tries = _tries(best)
    return best


async def forget_all(database: Database) -> None:
    """Throw away all that trials have left in a database."""
    async with database.connection() as conn:
        await conn.execute(b"TRUNCATE orgs, task_dependencies, task_inputs CASCADE")


def _tries(trial: Trial) -> Iterator[Trial]:
    """Smaller ones, the boldest first."""
    steps = list(trial.steps)
    if not trial.is_calm:
        yield replace(trial, is_calm=True)
    for job in trial.world.leaves():
        yield replace(trial, world=trial.world.without(job.name))
    size = len(steps) // 2
    while size:
        for at in range(0, len(steps), size):
            yield replace(trial, steps=steps[:at] + steps[at + size :])
        size //= 2
    for job in trial.world.made:
        for other in _simpler(job):
            yield replace(trial, world=trial.world.replacing(other))


def _simpler(job: Job) -> Iterator[Job]:
    for read in job.reads:
        if len(job.reads) > 1:
            left = tuple(each for each in job.reads if each != read)
            outputs = tuple(_without(output, read.dataset) for output in job.outputs)
            yield replace_job(job, reads=left, outputs=outputs)
    if job.per_task > 1:
        yield replace_job(job, per_task=1)


def _without(output: Output, dataset: str) -> Output:
    if output.lineage is None:
        return output
    told = tuple((c, tuple(p for p in pairs if p[0] != dataset)) for c, pairs in output.lineage)
    return Output(output.name, output.columns, told)
