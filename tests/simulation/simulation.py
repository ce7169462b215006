"""A world and its history: all verbs of the engine, in random order."""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from random import Random

from engine.store.database import Database
from engine.store.orgs import ensure_org
from tests.simulation.approvals import Approvals
from tests.simulation.clock import make_clock
from tests.simulation.crashes import Crash
from tests.simulation.declarations import Declarations
from tests.simulation.engines import Engines
from tests.simulation.history import Step
from tests.simulation.invariants import Invariants
from tests.simulation.letters import Letters
from tests.simulation.people import People
from tests.simulation.rest import Rest
from tests.simulation.stage import Stage
from tests.simulation.upstream import Upstream
from tests.simulation.workers import Workers
from tests.simulation.world import World

MEETING = ("plan", "claim", "finish", "ingest", "expire", "fail", "deploy", "mend")
MEETING += ("cancel", "decide", "apply", "replay")
"""Verbs which may occur in the middle of another."""
DEATH = "die"
"""Marker after a verb in the middle of which its process dies."""

_SKIPPED = "SELECT count(*) AS tasks FROM tasks WHERE org_id = %(org)s AND status = 'skipped'"


class Simulation:
    """All actors, sharing a stage."""

    def __init__(self, stage: Stage, *, is_mending: bool = False) -> None:
        self.stage = stage
        self._checked_writes = 0
        self._inner = ""
        self._declarations = declarations = Declarations(stage)
        stage.note_invalidations = declarations.note
        upstream = Upstream(stage)
        self._invariants = Invariants(stage.org, upstream.unusable, is_mending=is_mending)
        approvals, letters = Approvals(stage, upstream), Letters(stage, upstream)
        engines = Engines(stage, upstream)
        self._workers = workers = Workers(stage)
        self._people = People(stage, upstream)
        self._rest = Rest(
            stage,
            engines,
            workers,
            self._people,
            approvals,
            declarations,
            self._check_invariants,
            is_mending=is_mending,
        )
        self._verbs: dict[str, Callable[[Random], Awaitable[None]]] = {
            verb.__name__: verb
            for verb in (
                *(
                    upstream.change,
                    upstream.grow,
                    upstream.appear,
                    upstream.touch,
                    upstream.touch_row,
                    upstream.touch_group,
                    upstream.touch_last,
                    upstream.touch_to_new,
                    upstream.touch_in_range,
                    upstream.burst,
                    upstream.publish,
                ),
                *(engines.ingest, engines.plan, engines.expire, engines.tick, engines.clock),
                *(workers.claim, workers.read, workers.finish),
                *(workers.fail, workers.vanish, workers.heartbeat),
                *(self._people.mend, self._people.invalidate, self._people.deploy),
                *(self._people.cancel, self._people.retry_any, self._people.remake),
                *(self._people.wrong, self._people.rewrite, self._people.cancel_first),
                *(approvals.limit, approvals.decide, approvals.impact, approvals.apply),
                *(letters.garble, letters.replay),
                *(self._people.deploy_source, self._people.widen_source),
                *(self._people.alter_source, self._people.narrow_source),
                *(self._people.change_job, self._people.roll_back, self._people.read_less),
                *(
                    self._people.cut_otherwise,
                    self._people.activate,
                    self._people.cancel_newest,
                    self._people.wrong_first,
                ),
                *(workers.give_up, workers.spill),
                self._rest.rest,
            )
        }
        stage.meanwhile = self._meanwhile

    @staticmethod
    async def begun(
        database: Database,
        world: World,
        name: str,
        *,
        is_calm: bool = False,
        is_mending: bool = False,
        is_terse: bool = False,
    ) -> Simulation:
        """Return a simulation with a deployed world."""
        await make_clock(database)
        async with database.connection() as conn:
            org = await ensure_org(conn, name)
        simulation = Simulation(
            Stage(database, world, org, is_calm, is_terse), is_mending=is_mending
        )
        await simulation._people.deploy_calmly(world)
        return simulation

    @property
    def log(self) -> list[str]:
        return self.stage.log

    @property
    def counts(self) -> Counter[str]:
        return self.stage.counts

    async def end(self) -> None:
        """Come to rest. Raises Broken for a violated law."""
        await self._rest.rest(Random(self.stage.now))
        await self._rest.heal()
        (row,) = await self.stage.rows(_SKIPPED)
        self.counts["skipped"] += row["tasks"]

    async def step(self, step: Step) -> None:
        """Take a step and check the invariants, even after a failure in the step."""
        self.counts[f"{step.verb} during a run"] += bool(self._workers.runs)
        outer, _, self._inner = step.verb.partition(" + ")
        self.stage.colliding = outer if self._inner else None
        try:
            async with self.stage.surviving():
                await self._verbs[outer](step.dice())
        finally:
            self.stage.colliding = None
        await self._check_invariants()

    async def _meanwhile(self, dice: Random) -> None:
        if self.stage.colliding is not None and self._inner == DEATH:
            raise Crash
        verb = dice.choice(MEETING) if self.stage.colliding is None else self._inner
        step = Step(verb, dice.randrange(2**32))
        self.stage.log_line(step.verb)
        async with self.stage.surviving():
            await self._verbs[step.verb](step.dice())

    async def _check_invariants(self) -> None:
        if self.stage.writes == self._checked_writes:
            return  # no writes since the last check
        self._checked_writes = self.stage.writes
        await self.stage.note_invalidations()
        async with self.stage.connection() as conn:
            await self._invariants.check(conn)


async def side_by_side(simulations: Sequence[Simulation], steps: Sequence[Step]) -> None:
    """Run a history in several orgs in turns, then come to rest."""
    for step in steps:
        for n, simulation in enumerate(simulations):
            await simulation.step(replace(step, seed=step.seed + n))
    for simulation in simulations:
        await simulation.end()
