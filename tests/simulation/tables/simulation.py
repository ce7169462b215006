"""History of a world of tables: edits, events, plans, runs of the SQL operator, deploys."""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from random import Random

from consumers.manual import invalidate
from engine.flow.execution.reap import reap
from engine.flow.execution.retry import retry
from engine.model.event import SourceEvent
from engine.model.task import Lease
from tests.simulation.dimensions import text
from tests.simulation.events import event_text
from tests.simulation.history import Step
from tests.simulation.invariants import Broken, Invariants
from tests.simulation.tables.content import condition, quoted
from tests.simulation.tables.dag import function_of, view_of
from tests.simulation.tables.edits import Edits
from tests.simulation.tables.laws import check_at_rest, stuck_jobs
from tests.simulation.tables.minimal import Change, Changes
from tests.simulation.tables.state import TableState
from tests.simulation.tables.workers import STATEMENTS, Interrupted, Workers

MAX_ROUNDS = 60
_REWORDING_RATE = 0.07
_ALL = 1_000
_FAILED = """
SELECT t.id, j.name FROM tasks t JOIN jobs j ON j.id = t.job_id
WHERE t.org_id = %s AND t.status = 'failed'
"""
_LOSE = """
UPDATE tasks SET lease_expires_at = '2000-01-01' WHERE org_id = %s AND status = 'running'
RETURNING id
"""
_WORK = """
SELECT j.name, t.id::text AS subject FROM tasks t JOIN jobs j ON j.id = t.job_id
WHERE t.org_id = %s
UNION ALL
SELECT d.name, i.id::text FROM data_invalidations i JOIN datasets d ON d.id = i.dataset_uuid
WHERE i.org_id = %s
"""
_TICK = "UPDATE tasks SET next_retry_at = NULL WHERE org_id = %s RETURNING id"
_WEIGHTS = Counter(
    edit=16,
    publish=12,
    plan=10,
    claim=12,
    run=14,
    edit_during_run=4,
    crash=3,
    fail=2,
    expire=2,
    damage=2,
    redefine=1,
    deploy=2,
    rest=4,
)
_TOUCH = ("touch", "publish", "plan", "rest")
_PROCESS = ("publish", "publish", "plan")
_CODE = (
    *(*_TOUCH, "redefine", "rest", *["touch"] * 4, *["publish"] * 3, "plan", "rest"),
    *("damage", "publish", "plan", "rest", "deploy", "rest", *_TOUCH, "redefine", "rest"),
)
_FAILURES = (
    *("edit", "edit", *_PROCESS, "claim", "claim", "crash", "edit_during_run"),
    *("edit_during_run", "expire", "touch", *_PROCESS, "claim", "crash", "redefine"),
    *("claim", "run", "fail", "rest"),
)
_DRILLS = (_TOUCH * 6, _CODE, _TOUCH * 6, _FAILURES * 2)
"""Drills.

Changes of single columns, which must reach exactly their readers; changes of code, of several
columns, of an output and of a SELECT, each followed by a rest; interrupted and failed runs.
"""


class Simulation:
    """Edits, planners, workers and deploys of a world, step by step."""

    def __init__(self, state: TableState) -> None:
        self.state = state
        self.changes = Changes()
        self.workers = Workers(state, self.changes)
        self.edits = Edits(state.engine.database, state.world, state.schema)
        self.unpublished: list[SourceEvent] = []
        self.unplanned: list[SourceEvent] = []
        self._org = state.engine.org.id
        self._invariants = Invariants(self._org, (), is_mending=False)
        self._salt = 1
        verbs = (
            *(self.edit, self.touch, self.publish, self.plan, self.claim, self.run),
            *(self.edit_during_run, self.crash, self.fail, self.expire),
            *(self.damage, self.redefine, self.deploy, self.reword, self.rest),
        )
        self.verbs: dict[str, Callable[[Random], Awaitable[None]]] = {
            verb.__name__: verb for verb in verbs
        }

    async def step(self, step: Step) -> None:
        """Take a step, and check the invariants."""
        self.state.now += 1
        await self.verbs[step.verb](step.rng())
        async with self.state.engine.conn() as conn:
            await self._invariants.check(conn)

    # -- verbs ---------------------------------------------------------------------------------

    async def edit(self, rng: Random) -> None:
        """Change sources, leaving the events for later."""
        for _ in range(rng.choice([1, 1, 2, 3])):
            await self._edit(rng)

    async def touch(self, rng: Random) -> None:
        """Change a single column of a row."""
        event = await self.edits.touch(rng, await self.state.existing())
        self.state.log_line(f"touch: {event_text(event)}", "tables: touch")
        self.unpublished.append(event)

    async def _edit(self, rng: Random) -> None:
        kind, event = await self.edits.edit(rng, await self.state.existing())
        self.state.log_line(f"{kind}: {event_text(event)}", f"tables: {kind}")
        self.state.counts["tables: event of columns"] += event.columns is not None
        self.state.counts["tables: event of rows"] += event.rows is not None
        self.unpublished.append(event)

    async def publish(self, rng: Random) -> None:
        """Publish events in any order, some twice."""
        for _ in range(rng.randint(1, 3)):
            if self.unpublished:
                event = self.unpublished.pop(rng.randrange(len(self.unpublished)))
                for _ in range(rng.choice([1, 1, 1, 2])):
                    await self._publish(event)

    async def _publish(self, event: SourceEvent) -> None:
        self.state.log_line(f"publish {event_text(event)}")
        async with self.state.engine.conn() as conn:
            await invalidate(conn, self.state.engine.org, event)
        self.unplanned.append(event)

    async def plan(self, _: Random) -> None:
        """Plan all open invalidations."""
        self.state.log_line("plan")
        await self.state.engine.plan()
        for event in self.unplanned:
            self.changes.announce(self.state.world, event, self.state.now)
        self.unplanned = []

    async def claim(self, rng: Random) -> None:
        await self.workers.claim(rng.choice([1, 2, 5]))

    async def run(self, rng: Random) -> None:
        """Run some of the claimed tasks."""
        for _ in range(rng.choice([1, 1, 3])):
            if chosen := self.workers.chosen(rng):
                await self.workers.run(*chosen)

    async def edit_during_run(self, rng: Random) -> None:
        """Change a source between two statements of a run."""
        if not (chosen := await self._leased(rng)):
            return

        async def edit() -> None:
            await self._edit(rng)
            self.state.counts["tables: edit during a run"] += 1

        at = rng.randrange(STATEMENTS)
        await self.workers.run(*chosen, Interrupted(self.state.engine.database, at, edit))

    async def _leased(self, rng: Random) -> tuple[Lease, int] | None:
        """Take a lease, claiming a task if none is held."""
        if not self.workers.leases:
            await self.workers.claim(1)
        return self.workers.chosen(rng)

    async def crash(self, rng: Random) -> None:
        """Crash during a run."""
        if chosen := await self._leased(rng):
            await self.workers.crash(rng, *chosen)

    async def fail(self, rng: Random) -> None:
        if chosen := self.workers.chosen(rng):
            await self.workers.fail(chosen[0], "it failed")

    async def expire(self, _: Random) -> None:
        """Expire all leases, even of workers still running, and make delayed retries due."""
        if await self.state.engine.rows(_LOSE, self._org):
            async with self.state.engine.conn() as conn:
                await reap(conn, self.state.engine.org)
        await self.state.engine.rows(_TICK, self._org)

    async def damage(self, rng: Random) -> None:
        """Delete rows of an output by hand, and invalidate its partition."""
        job = rng.choice(self.state.world.world.derived_jobs)
        name = rng.choice(job.outputs).name
        keys = sorted((await self.state.existing())[name])
        if not keys or not await self.state.table(name):
            return
        key = rng.choice(keys)
        where = condition(job.space, [key])
        table = f"{quoted(self.state.schema)}.{quoted(name)}"
        await self.state.run(f"DELETE FROM {table} WHERE {where}")
        self.changes.changed[name].append(Change(self.state.now, key, None))
        partitions = (text(job.space, key),) if job.space else None
        event = SourceEvent(dataset=name, partitions=partitions, reason="manual")
        self.state.log_line(f"damage {event_text(event)}", "tables: output damaged by hand")
        self.unpublished.append(event)

    async def redefine(self, rng: Random) -> None:
        """Redefine the function and the views, and redeploy the DAG."""
        self._salt += 1
        world, schema = self.state.world, self.state.schema
        await self.state.run(function_of(schema, self._salt))
        for job in world.world.sources:
            if job.outputs[0].name in world.views:
                await self.state.run(view_of(world, job, schema, self._salt))
        self.state.log_line("redefine", "tables: code redefined")
        if chosen := self.workers.chosen(rng):
            await self.workers.run(*chosen)
        await self._deploy(rng)

    async def deploy(self, rng: Random) -> None:
        """Deploy a job with other constants in its SELECTs, or another main input."""
        job = rng.choice(self.state.world.world.derived_jobs)
        self.state.log_line(f"deploy {job.name}", "tables: SELECT changed")
        self.state.world = self.state.world.with_salt(job.name, rng.randrange(100))
        self._replace_input(rng)
        await self._deploy(rng)

    async def reword(self, rng: Random) -> None:
        """Deploy equivalent SELECTs, and check that nothing is replaced or to be done."""
        self.state.log_line("reword", "tables: SELECT reworded")
        self.state.wording = rng.randrange(1, 2**32)
        versions, work = await self.state.versions(), await self._work()
        await self.state.deploy(self.state.world)
        if await self.state.versions() != versions:
            raise Broken("minimal: equivalent SELECTs keep dataset versions", self._org)
        if new := await self._work() - work:
            raise Broken("minimal: equivalent SELECTs make no work", new)

    async def _work(self) -> set[tuple[str, str]]:
        """Return the partitions of all tasks and invalidations."""
        rows = await self.state.engine.rows(_WORK, self._org, self._org)
        return {(row["name"], row["subject"]) for row in rows}

    def _replace_input(self, rng: Random) -> None:
        """Let a job read another source, if the world has two alike."""
        world = self.state.world
        names = [job.name for job in world.world.derived_jobs if world.alternatives(job.name)]
        if names and rng.random() < 0.7:
            name = rng.choice(names)
            self.state.world = world.with_main_input(name, rng.choice(world.alternatives(name)))
            self.state.log_line(f"read another source in {name}", "tables: input replaced")

    async def _deploy(self, _: Random) -> None:
        before = await self.state.versions()
        await self.state.deploy(self.state.world)
        after = await self.state.versions()
        replaced = {name for name in after if after[name] != before[name]}
        for job in self.state.world.world.derived_jobs:
            if replaced & {read.dataset for read in job.reads}:
                everything = Change(self.state.now, None, None)
                self.changes.wrong[job.outputs[0].name].append(everything)

    # -- rest ----------------------------------------------------------------------------------

    async def rest(self, rng: Random) -> None:
        """Complete all work, and check both laws. Raises Broken."""
        self.state.log_line("rest", "tables: checks at rest")
        for _ in range(MAX_ROUNDS):
            if not await self._drain(rng):
                break
        else:
            raise Broken("work never completes", self._org)
        await check_at_rest(self.state, self.edits.named_by_events)

    async def _drain(self, rng: Random) -> bool:
        """Complete all open work once; returns whether any was found."""
        self.state.now += 1
        found = bool(self.unpublished or self.unplanned)
        while self.unpublished:
            await self._publish(self.unpublished.pop(0))
        await self.plan(rng)
        while chosen := self.workers.chosen(rng):
            found = True
            await self.workers.run(*chosen)
        await self.expire(rng)
        found |= await self._retry()
        return await self.workers.claim(_ALL) or found

    async def _retry(self) -> bool:
        stuck = stuck_jobs(self.state.world.world, await self.state.existing())
        rows = await self.state.engine.rows(_FAILED, self._org)
        failed = [row["id"] for row in rows if row["name"] not in stuck]
        async with self.state.engine.conn() as conn:
            for task in failed:
                await retry(conn, self.state.engine.org, task)
        return bool(failed)


def history(seed: int) -> list[Step]:
    """Return the steps of a history; every second history is a drill."""
    rng = Random(f"table history {seed}")
    verbs = sorted(_WEIGHTS)
    weights = [_WEIGHTS[verb] for verb in verbs]
    drawn = rng.choices(verbs, weights, k=rng.randint(15, 45))
    opening = ["edit", "edit", "edit", "publish", "publish", "plan", "claim", "run", "rest"]
    if seed % 2:
        drawn = [*_DRILLS[seed // 2 % len(_DRILLS)]]
    steps = [Step(verb, rng.randrange(2**32)) for verb in [*opening, *drawn, "rest"]]
    return _with_rewording(seed, steps)


def _with_rewording(seed: int, steps: Sequence[Step]) -> list[Step]:
    """Return a history with equivalent SELECTs deployed between its steps, which stay the same."""
    rng = Random(f"rewording {seed}")
    more: list[Step] = []
    for step in steps:
        more.append(step)
        if rng.random() < _REWORDING_RATE:
            more.append(Step("reword", rng.randrange(2**32)))
    return more
