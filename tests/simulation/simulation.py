"""A world and its history: all verbs of the actors, in random order."""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from random import Random

from engine.store.database import Database
from engine.store.orgs import ensure_org
from tests.simulation.approvals import Approvals
from tests.simulation.authors import Authors
from tests.simulation.being import boundaries
from tests.simulation.clock import make_clock, set_moment
from tests.simulation.crashes import Crash
from tests.simulation.dead_letters import DeadLetters
from tests.simulation.declarations import Declarations
from tests.simulation.engines import Engines
from tests.simulation.history import Step
from tests.simulation.invariants import Invariants
from tests.simulation.operators import Operators
from tests.simulation.outputs import Outputs
from tests.simulation.pauses import Pauses
from tests.simulation.rest import Rest
from tests.simulation.state import SimulationState
from tests.simulation.upstream import Upstream
from tests.simulation.workers import Workers
from tests.simulation.world import World

CONCURRENT_VERBS = ("plan", "claim", "finish", "ingest", "expire", "fail", "deploy", "mend")
CONCURRENT_VERBS += ("cancel", "decide", "apply", "replay")
"""Verbs that may run between two statements of another."""
CRASH_VERB = "die"
"""Marker after a verb whose process crashes between two statements."""

_SKIPPED = "SELECT count(*) AS tasks FROM all_tasks WHERE org_id = %(org)s AND status = 'skipped'"


class Simulation:
    """All actors, sharing a state."""

    def __init__(self, state: SimulationState, *, is_mending: bool = False) -> None:
        self.state = state
        self._checked_writes = 0
        self._inner = ""
        self._declarations = declarations = Declarations(state)
        state.record_planned_events = declarations.record
        upstream = Upstream(state)
        self._invariants = Invariants(
            state.org, upstream.unusable, state.removed, is_mending=is_mending
        )
        approvals, dead_letters = Approvals(state, upstream), DeadLetters(state, upstream)
        self._engines = engines = Engines(state, upstream)
        outputs = Outputs(state)
        self._workers = workers = Workers(state, outputs)
        operators = Operators(state, upstream)
        pauses = Pauses(state)
        self._authors = authors = Authors(state, upstream)
        self._rest = Rest(
            state,
            engines,
            workers,
            outputs,
            operators,
            approvals,
            declarations,
            pauses,
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
                    upstream.describe,
                    upstream.burst,
                    upstream.publish,
                ),
                *(engines.ingest, engines.plan, engines.expire, engines.tick, engines.clock),
                *(engines.pass_time, engines.begin, engines.fire, authors.appear_otherwise),
                authors.bound_otherwise,
                *(workers.claim, workers.read, workers.finish),
                *(workers.fail, workers.vanish, workers.heartbeat),
                *(operators.mend, operators.invalidate, authors.deploy),
                *(operators.cancel, operators.retry_any, operators.remake),
                *(operators.wrong, operators.rewrite, operators.cancel_first),
                *(operators.cancel_newest, operators.wrong_first),
                *(approvals.limit, approvals.decide, approvals.impact, approvals.apply),
                *(dead_letters.garble, dead_letters.replay),
                *(authors.deploy_source, authors.widen_source),
                *(authors.alter_source, authors.narrow_source),
                *(authors.change_job, authors.roll_back, authors.read_less),
                *(authors.cut_otherwise, authors.activate),
                *(workers.give_up, workers.spill),
                *(pauses.pause, pauses.resume, pauses.pass_quiet_time, operators.retry_canceled),
                *(authors.redeploy, authors.sweep, authors.deploy_together),
                self._rest.rest,
            )
        }
        state.run_concurrent_verb = self._run_concurrent_verb

    @staticmethod
    async def start(
        database: Database,
        world: World,
        name: str,
        *,
        is_calm: bool = False,
        is_mending: bool = False,
        has_report_gaps: bool = False,
        moment: datetime | None = None,
    ) -> Simulation:
        """Return a simulation with a deployed world."""
        await make_clock(database)
        await set_moment(database, moment)
        async with database.connection() as conn:
            org = await ensure_org(conn, name)
        simulation = Simulation(
            SimulationState(database, world, org, is_calm, has_report_gaps, moment=moment),
            is_mending=is_mending,
        )
        await simulation._authors.deploy_calmly(world)
        await simulation._engines.start_schedules()
        return simulation

    @property
    def log(self) -> list[str]:
        return self.state.log

    @property
    def counts(self) -> Counter[str]:
        return self.state.counts

    async def end(self) -> None:
        """Complete all work. Raises Broken for a violated law."""
        await self._rest.rest(Random(self.state.now))
        if self.state.moment is not None:
            last = max([self.state.moment, *boundaries(self.state.world)])
            await self._engines.set_moment(last + timedelta(days=1))
            await self._rest.rest(Random(self.state.now))
        # A request builds nothing that has not come into being, so it follows the end of time.
        await self._rest.recover()
        (row,) = await self.state.rows(_SKIPPED)
        self.counts["skipped"] += row["tasks"]

    async def step(self, step: Step) -> None:
        """Take a step and check the invariants, even after a failure in the step."""
        self.counts[f"{step.verb} during a run"] += bool(self._workers.runs)
        verb_name, _, self._inner = step.verb.partition(" + ")
        self.state.interrupted_verb = verb_name if self._inner else None
        try:
            async with self.state.tolerating_crashes():
                await self._verbs[verb_name](step.rng())
        finally:
            self.state.interrupted_verb = None
        await self._check_invariants()

    async def _run_concurrent_verb(self, rng: Random) -> None:
        if self.state.interrupted_verb is not None and self._inner == CRASH_VERB:
            raise Crash
        verb = rng.choice(CONCURRENT_VERBS) if self.state.interrupted_verb is None else self._inner
        step = Step(verb, rng.randrange(2**32))
        self.state.log_line(step.verb)
        async with self.state.tolerating_crashes():
            await self._verbs[step.verb](step.rng())

    async def _check_invariants(self) -> None:
        if self.state.writes == self._checked_writes:
            return  # no writes since the last check
        self._checked_writes = self.state.writes
        await self.state.record_planned_events()
        await self.state.record_possible()
        async with self.state.connection() as conn:
            await self._invariants.check(conn)


async def run_in_turns(simulations: Sequence[Simulation], steps: Sequence[Step]) -> None:
    """Run a history in several orgs in turns, then complete all work."""
    for step in steps:
        for n, simulation in enumerate(simulations):
            await simulation.step(replace(step, seed=step.seed + n))
    for simulation in simulations:
        await simulation.end()
