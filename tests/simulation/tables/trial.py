"""Trial of a world of tables."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from random import Random

from engine.store.database import Database
from tests.simulation.history import Step
from tests.simulation.invariants import law_of
from tests.simulation.tables.describe import described
from tests.simulation.tables.generate import TableWorld, table_world
from tests.simulation.tables.simulation import Simulation, history
from tests.simulation.tables.state import TableState


@dataclass
class TableTrial:
    """A world of tables with its history, and its outcome after `run`."""

    world: TableWorld
    steps: Sequence[Step]
    is_granted_by_hand: bool = False
    failure: Exception | None = None
    log: list[str] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)

    @staticmethod
    def of(seed: int) -> TableTrial:
        """Generate the trial of a seed."""
        is_granted_by_hand = Random(f"grants {seed}").random() < 0.5
        return TableTrial(table_world(seed), history(seed), is_granted_by_hand)

    async def run(self, database: Database) -> TableTrial:
        """Run the history in a new schema and org, recording any error as its failure.

        Sessions of `database` use a simulated clock, so the trial opens its own.
        """
        async with await Database.open(database.url) as own:
            state = await TableState.start(
                own, self.world, is_granted_by_hand=self.is_granted_by_hand
            )
            simulation = Simulation(state)
            try:
                for step in self.steps:
                    await simulation.step(step)
            except Exception as error:
                self.failure = error
            await state.end()
        self.log, self.counts = state.log, state.counts
        self.counts.update(f"tables: {feature}" for feature in self.world.features)
        self.counts["tables: granted by hand"] += self.is_granted_by_hand
        return self

    @property
    def law(self) -> str:
        """Return the violated law, or the type of the error."""
        return law_of(self.failure)

    def described(self) -> list[str]:
        """Return a few lines per job."""
        return described(self.world)
