"""Trial with concurrent processes: two engines and two workers.

The seed determines the world, the edits and the killed process, but not the scheduling of the
processes: reproducing a failure may take several attempts.
"""

from __future__ import annotations

import tempfile
from collections import Counter
from dataclasses import dataclass, field, replace
from pathlib import Path
from random import Random

from engine.store.database import Database
from tests.simulation.invariants import law_of
from tests.simulation.parallel.history import SERVICES, History
from tests.simulation.tables.describe import described
from tests.simulation.tables.generate import TableWorld, table_world
from tests.simulation.tables.state import TableState
from tests.simulation.world import World
from tests.support.processes import environment, processes

_MOST_ATTEMPTS = 1_000
"""Attempts fail until the table of an input exists."""


@dataclass
class ParallelTrial:
    """A world of tables, with its outcome after `run`; ``patch`` runs ahead of each process."""

    seed: int
    world: TableWorld
    patch: str = ""
    failure: Exception | None = None
    log: list[str] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)

    @staticmethod
    def of(seed: int) -> ParallelTrial:
        """Generate the trial of a seed."""
        world = table_world(seed)
        jobs = tuple(replace(job, max_attempts=_MOST_ATTEMPTS) for job in world.world.jobs)
        return ParallelTrial(seed, replace(world, world=World(jobs)))

    async def run(self, database: Database) -> ParallelTrial:
        """Run the trial in a new schema and org, recording any error as its failure."""
        with tempfile.TemporaryDirectory() as directory:
            async with await Database.open(database.url) as own:
                state = await TableState.start(own, self.world, is_granted_by_hand=False)
                logs = await self._run(state, Path(directory))
                await state.end()
        self.log = [*state.log, *logs]
        self.counts = state.counts
        return self

    async def _run(self, state: TableState, directory: Path) -> list[str]:
        """Run the processes with a history; returns their logs after a failure."""
        params = environment(
            state.engine.database.url,
            KNOCKON_ORG=state.schema,
            KNOCKON_LEASE_SECONDS="60",
            KNOCKON_POLL_SECONDS="0.5",
        )
        try:
            with processes(params, directory) as services:
                services.start(*SERVICES, patch=self.patch)
                rng = Random(f"parallel {self.seed}")
                await History(state, rng, services, self.patch).run()
        except Exception as error:
            self.failure = error
            return [
                f"{name}: {line}"
                for name in SERVICES
                for line in (directory / f"{name}.log").read_text(errors="replace").splitlines()
            ]
        return []

    @property
    def law(self) -> str:
        """Return the violated law, or the type of the error."""
        return law_of(self.failure)

    def described(self) -> list[str]:
        """Return a few lines per job."""
        return described(self.world)
