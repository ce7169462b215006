"""Operators who pause jobs, datasets and the org, and resume them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from random import Random

from engine.flow.shared.pauses import pause, resume
from engine.model.states import PauseKind
from tests.simulation.history import Step
from tests.simulation.state import SimulationState
from tests.simulation.world import World

_PAUSED = "SELECT kind, name FROM pauses WHERE org_id = %(org)s ORDER BY kind, name"
_PASS_QUIET_TIME = """
UPDATE data_invalidations SET created_at = created_at - interval '2 hours' WHERE id IN (
    SELECT id FROM data_invalidations
    WHERE org_id = %(org)s AND is_debounced AND processed_at IS NULL FOR UPDATE SKIP LOCKED)
RETURNING id
"""
_RATE = 0.12


class Pauses:
    """Pauses of subjects of the world; the state has those in force between two verbs."""

    def __init__(self, state: SimulationState) -> None:
        self.state = state

    async def pause(self, rng: Random) -> None:
        """Pause a random job, dataset, or the org."""
        kind = rng.choices([*PauseKind], [5, 5, 1])[0]
        name = ""
        if kind == PauseKind.JOB and self.state.world.derived_jobs:
            name = rng.choice(self.state.world.derived_jobs).name
        elif kind != PauseKind.ORG:
            kind, name = PauseKind.DATASET, rng.choice([*self.state.world.producers])
        self.state.log_line(f"pause {kind} {name}", f"pause of kind {kind}")
        org = self.state.org_context(rng)
        try:
            await self.state.do("pause", lambda conn: pause(conn, org, kind, name, by="ann"), rng)
        finally:
            await self._refresh()

    async def resume(self, rng: Random) -> None:
        """Resume a random subject."""
        if self.state.paused:
            await self._resume(*rng.choice(sorted(self.state.paused)), rng)

    async def pass_quiet_time(self, rng: Random | None = None) -> None:
        """Have so much time passed since the open invalidations that none is gathered longer."""
        if await self.state.rows(_PASS_QUIET_TIME) and rng is not None:
            self.state.log_line("quiet time passes", "quiet time")

    async def resume_all(self) -> None:
        for kind, name in sorted(self.state.paused):
            await self._resume(kind, name, None)

    async def _resume(self, kind: PauseKind, name: str, rng: Random | None) -> None:
        self.state.log_line(f"resume {kind} {name}", "resume")
        org = self.state.org_context(rng)
        try:
            await self.state.do("resume", lambda conn: resume(conn, org, kind, name), rng)
        finally:
            await self._refresh()

    async def _refresh(self) -> None:
        rows = await self.state.rows(_PAUSED)
        self.state.paused = {(PauseKind(row["kind"]), row["name"]) for row in rows}


def with_debounce(seed: int, world: World) -> World:
    """Return a world in which the invalidations of some datasets are gathered."""
    rng = Random(f"debounce {seed}")
    debounced = (replace(job, is_debounced=rng.random() < 0.3) for job in world.jobs)
    return World(tuple(debounced))


def with_pauses(seed: int, steps: Sequence[Step]) -> Sequence[Step]:
    """Return a history with decisions of operators among its steps, which stay the same."""
    rng = Random(f"pauses {seed}")
    paused: list[Step] = []
    for step in steps:
        paused.append(step)
        if rng.random() < _RATE:
            verb = rng.choices(
                ["pause", "resume", "cancel", "retry_canceled", "pass_quiet_time"], [3, 2, 1, 2, 3]
            )[0]
            paused.append(Step(verb, rng.randrange(2**32)))
            if verb == "cancel":
                paused.append(Step("retry_canceled", rng.randrange(2**32)))
    return paused
