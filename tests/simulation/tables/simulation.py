"""History of a world of tables: edits, events, plans, runs of the SQL operator, deploys."""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable
from random import Random

from consumers.manual import invalidate
from engine.flow.execution.operator_actions import retry
from engine.flow.execution.reap import reap
from engine.model.event import SourceEvent
from engine.model.task import Lease
from tests.simulation.dimensions import text
from tests.simulation.history import Step
from tests.simulation.invariants import Broken, Invariants
from tests.simulation.tables.content import condition, quoted
from tests.simulation.tables.dag import function_of, view_of
from tests.simulation.tables.edits import Edits
from tests.simulation.tables.laws import check_at_rest, stuck_jobs
from tests.simulation.tables.minimal import Change, Changes
from tests.simulation.tables.stand import Stand
from tests.simulation.tables.workers import STATEMENTS, Interrupted, Workers
from tests.simulation.upstream import brief

PATIENCE = 60
_ALL = 1_000
_FAILED = """
SELECT t.id, j.name FROM tasks t JOIN jobs j ON j.id = t.job_id
WHERE t.org_id = %s AND t.status = 'failed'
"""
_LOSE = """
UPDATE tasks SET lease_expires_at = '2000-01-01' WHERE org_id = %s AND status = 'running'
RETURNING id
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
_TAKE_IN = ("publish", "publish", "plan")
_CODE = (
    *(*_TOUCH, "redefine", "rest", *["touch"] * 4, *["publish"] * 3, "plan", "rest"),
    *("damage", "publish", "plan", "rest", "deploy", "rest", *_TOUCH, "redefine", "rest"),
)
_TROUBLE = (
    *("edit", "edit", *_TAKE_IN, "claim", "claim", "crash", "edit_during_run"),
    *("edit_during_run", "expire", "touch", *_TAKE_IN, "claim", "crash", "redefine"),
    *("claim", "run", "fail", "rest"),
)
_DRILLS = (_TOUCH * 6, _CODE, _TOUCH * 6, _TROUBLE * 2)
"""Drills.

Changes of single columns, which must reach exactly their readers; changes of code, of several
columns, of an output and of a SELECT, each followed by a rest; interrupted and failed runs.
"""


class Simulation:
    """Edits, planners, workers and deploys of a world, step by step."""

    def __init__(self, stand: Stand) -> None:
        self.stand = stand
        self.changes = Changes()
        self.workers = Workers(stand, self.changes)
        self.edits = Edits(stand.engine.database, stand.world, stand.schema)
        self.unpublished: list[SourceEvent] = []
        self.unplanned: list[SourceEvent] = []
        self._org = stand.engine.org.id
        self._invariants = Invariants(self._org, (), is_mending=False)
        self._salt = 1
        verbs = (
            *(self.edit, self.touch, self.publish, self.plan, self.claim, self.run),
            *(self.edit_during_run, self.crash, self.fail, self.expire),
            *(self.damage, self.redefine, self.deploy, self.rest),
        )
        self.verbs: dict[str, Callable[[Random], Awaitable[None]]] = {
            verb.__name__: verb for verb in verbs
        }

    async def step(self, step: Step) -> None:
        """Take a step, and check the invariants."""
        self.stand.now += 1
        await self.verbs[step.verb](step.dice())
        async with self.stand.engine.conn() as conn:
            await self._invariants.check(conn)

    # -- verbs ---------------------------------------------------------------------------------

    async def edit(self, dice: Random) -> None:
        """Change sources, leaving the events for later."""
        for _ in range(dice.choice([1, 1, 2, 3])):
            await self._edit(dice)

    async def touch(self, dice: Random) -> None:
        """Change a single column of a row."""
        event = await self.edits.touch(dice, await self.stand.existing())
        self.stand.log_line(f"touch: {brief(event)}", "tables: touch")
        self.unpublished.append(event)

    async def _edit(self, dice: Random) -> None:
        way, event = await self.edits.edit(dice, await self.stand.existing())
        self.stand.log_line(f"{way}: {brief(event)}", f"tables: {way}")
        self.stand.counts["tables: event of columns"] += event.columns is not None
        self.stand.counts["tables: event of rows"] += event.rows is not None
        self.unpublished.append(event)

    async def publish(self, dice: Random) -> None:
        """Publish events in any order, some twice."""
        for _ in range(dice.randint(1, 3)):
            if self.unpublished:
                event = self.unpublished.pop(dice.randrange(len(self.unpublished)))
                for _ in range(dice.choice([1, 1, 1, 2])):
                    await self._publish(event)

    async def _publish(self, event: SourceEvent) -> None:
        self.stand.log_line(f"publish {brief(event)}")
        async with self.stand.engine.conn() as conn:
            await invalidate(conn, self.stand.engine.org, event)
        self.unplanned.append(event)

    async def plan(self, _: Random) -> None:
        """Plan all open invalidations."""
        self.stand.log_line("plan")
        await self.stand.engine.plan()
        for event in self.unplanned:
            self.changes.announce(self.stand.world, event, self.stand.now)
        self.unplanned = []

    async def claim(self, dice: Random) -> None:
        await self.workers.claim(dice.choice([1, 2, 5]))

    async def run(self, dice: Random) -> None:
        """Run some of the claimed tasks."""
        for _ in range(dice.choice([1, 1, 3])):
            if chosen := self.workers.chosen(dice):
                await self.workers.run(*chosen)

    async def edit_during_run(self, dice: Random) -> None:
        """Change a source between two statements of a run."""
        if not (chosen := await self._leased(dice)):
            return

        async def edit() -> None:
            await self._edit(dice)
            self.stand.counts["tables: edit during a run"] += 1

        at = dice.randrange(STATEMENTS)
        await self.workers.run(*chosen, Interrupted(self.stand.engine.database, at, edit))

    async def _leased(self, dice: Random) -> tuple[Lease, int] | None:
        """Take a lease, claiming a task if none is held."""
        if not self.workers.leases:
            await self.workers.claim(1)
        return self.workers.chosen(dice)

    async def crash(self, dice: Random) -> None:
        """Die in the middle of a run."""
        if chosen := await self._leased(dice):
            await self.workers.crash(dice, *chosen)

    async def fail(self, dice: Random) -> None:
        if chosen := self.workers.chosen(dice):
            await self.workers.fail(chosen[0], "it broke")

    async def expire(self, _: Random) -> None:
        """Expire all leases, even of workers still running, and make delayed retries due."""
        if await self.stand.engine.rows(_LOSE, self._org):
            async with self.stand.engine.conn() as conn:
                await reap(conn, self.stand.engine.org)
        await self.stand.engine.rows(_TICK, self._org)

    async def damage(self, dice: Random) -> None:
        """Delete rows of an output by hand, and invalidate its partition."""
        job = dice.choice(self.stand.world.world.derived_jobs)
        name = dice.choice(job.outputs).name
        keys = sorted((await self.stand.existing())[name])
        if not keys or not await self.stand.table(name):
            return
        key = dice.choice(keys)
        where = condition(job.space, [key])
        table = f"{quoted(self.stand.schema)}.{quoted(name)}"
        await self.stand.run(f"DELETE FROM {table} WHERE {where}")
        self.changes.changed[name].append(Change(self.stand.now, key, None))
        partitions = (text(job.space, key),) if job.space else None
        event = SourceEvent(dataset=name, partitions=partitions, reason="manual")
        self.stand.log_line(f"damage {brief(event)}", "tables: output damaged by hand")
        self.unpublished.append(event)

    async def redefine(self, dice: Random) -> None:
        """Redefine the function and the views, and redeploy the DAG."""
        self._salt += 1
        world, schema = self.stand.world, self.stand.schema
        await self.stand.run(function_of(schema, self._salt))
        for job in world.world.sources:
            if job.outputs[0].name in world.views:
                await self.stand.run(view_of(world, job, schema, self._salt))
        self.stand.log_line("redefine", "tables: code redefined")
        if chosen := self.workers.chosen(dice):
            await self.workers.run(*chosen)
        await self._deploy(dice)

    async def deploy(self, dice: Random) -> None:
        """Deploy a job with other constants in its SELECTs, or another main input."""
        job = dice.choice(self.stand.world.world.derived_jobs)
        self.stand.log_line(f"deploy {job.name}", "tables: SELECT changed")
        self.stand.world = self.stand.world.with_salt(job.name, dice.randrange(100))
        self._replace_input(dice)
        await self._deploy(dice)

    def _replace_input(self, dice: Random) -> None:
        """Let a job read another source, if the world has two alike."""
        world = self.stand.world
        names = [job.name for job in world.world.derived_jobs if world.alternatives(job.name)]
        if names and dice.random() < 0.7:
            name = dice.choice(names)
            self.stand.world = world.with_main_input(name, dice.choice(world.alternatives(name)))
            self.stand.log_line(f"read another source in {name}", "tables: input replaced")

    async def _deploy(self, _: Random) -> None:
        before = await self.stand.versions()
        await self.stand.deploy(self.stand.world)
        after = await self.stand.versions()
        begun = {name for name in after if after[name] != before[name]}
        for job in self.stand.world.world.derived_jobs:
            if begun & {read.dataset for read in job.reads}:
                everything = Change(self.stand.now, None, None)
                self.changes.wrong[job.outputs[0].name].append(everything)

    # -- rest ----------------------------------------------------------------------------------

    async def rest(self, dice: Random) -> None:
        """Complete all work, and check both laws. Raises Broken."""
        self.stand.log_line("rest", "tables: rests")
        for _ in range(PATIENCE):
            if not await self._drain(dice):
                break
        else:
            raise Broken("it never comes to rest", self._org)
        await check_at_rest(self.stand, self.edits.named_by_events)

    async def _drain(self, dice: Random) -> bool:
        """Complete all open work once; returns whether any was found."""
        self.stand.now += 1
        had = bool(self.unpublished or self.unplanned)
        while self.unpublished:
            await self._publish(self.unpublished.pop(0))
        await self.plan(dice)
        while chosen := self.workers.chosen(dice):
            had = True
            await self.workers.run(*chosen)
        await self.expire(dice)
        had |= await self._retry()
        return await self.workers.claim(_ALL) or had

    async def _retry(self) -> bool:
        stuck = stuck_jobs(self.stand.world.world, await self.stand.existing())
        rows = await self.stand.engine.rows(_FAILED, self._org)
        failed = [row["id"] for row in rows if row["name"] not in stuck]
        async with self.stand.engine.conn() as conn:
            for task in failed:
                await retry(conn, self.stand.engine.org, task)
        return bool(failed)


def history(seed: int) -> list[Step]:
    """Return the steps of a history; every second history is a drill."""
    dice = Random(f"table history {seed}")
    verbs = sorted(_WEIGHTS)
    weights = [_WEIGHTS[verb] for verb in verbs]
    drawn = dice.choices(verbs, weights, k=dice.randint(15, 45))
    opening = ["edit", "edit", "edit", "publish", "publish", "plan", "claim", "run", "rest"]
    if seed % 2:
        drawn = [*_DRILLS[seed // 2 % len(_DRILLS)]]
    return [Step(verb, dice.randrange(2**32)) for verb in [*opening, *drawn, "rest"]]
