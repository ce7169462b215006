"""One world, one history: every verb of the engine, in whichever order the dice say.

The data live here and not in Knockon. A run reads its inputs when its dice say so, and what it made
is there once its completion was accepted. Nothing here asks the clock.
"""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field, replace
from random import Random
from typing import Any, TypeVar
from uuid import UUID
from zlib import crc32

import psycopg

from consumers.manual import invalidate
from engine.errors import InvalidDag, LeaseLost, PositionLost
from engine.flow.byhand import cancel, retry
from engine.flow.claim import Claimant, claim
from engine.flow.complete import complete
from engine.flow.deploy import deploy
from engine.flow.fail import fail
from engine.flow.heartbeat import heartbeat
from engine.flow.ingest import ingest
from engine.flow.plan import plan
from engine.flow.reap import reap
from engine.flow.scene import Scene
from engine.model.dagfile import parse_dag
from engine.model.event import Advance, Batch, Received, SourceEvent
from engine.model.task import Completion, Lease
from engine.model.task import Output as Made
from engine.store.database import Connection, Database
from engine.store.orgs import ensure_org
from tests.simulation import oracle
from tests.simulation.crashes import Crash, interrupted
from tests.simulation.generate import ANCHORS, Maker
from tests.simulation.history import Step
from tests.simulation.invariants import Broken, Invariants
from tests.simulation.oracle import Declared, Ledger, Rows
from tests.simulation.world import Columns, Job, Key, World, is_finite, read_text, text, universe

T = TypeVar("T")
ENGINES = 2
CRASHES = 0.10
MEETINGS = 0.10
STATEMENTS = 14
_IMPATIENT = b"SET lock_timeout = '60ms'"
PATIENCE = 400
UNIT: Key = ("(unit)",)
"""Stands for everything that a job makes in one go."""


@dataclass
class Run:
    """A lease in a worker's hands; ``content`` is what it has made, once it has read."""

    lease: Lease
    job: Job
    world: World
    at: int
    dirt: dict[str, Columns]
    content: dict[str, dict[Key, Rows]] | None = None


@dataclass
class Simulation:
    """A world on a database, in an org of its own."""

    database: Database
    world: World
    org: UUID
    is_calm: bool = False
    log: list[str] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        self.scenes = [Scene(self.org) for _ in range(ENGINES)]
        self.invariants = Invariants(self.org)
        self.ledger = Ledger()
        self.now = 0
        self.sources: dict[str, dict[Key, Rows]] = defaultdict(dict)
        self.spoken: defaultdict[str, set[Key]] = defaultdict(set)
        self.warehouse: dict[tuple[str, UUID], dict[Key, Rows]] = defaultdict(dict)
        self.versions: dict[str, UUID] = {}
        self.unpublished: list[SourceEvent] = []
        self.stream: list[SourceEvent] = []
        self.owners: list[str | None] = [None] * ENGINES
        self.runs: list[Run] = []
        self.earlier: list[World] = []
        self.seen: list[UUID] = []
        self._depth = 0

    @staticmethod
    async def begun(database: Database, world: World, name: str) -> Simulation:
        """A simulation whose world is deployed."""
        async with database.connection() as conn:
            simulation = Simulation(database, world, await ensure_org(conn, name))
        for dag in world.dags:
            await simulation._deploy(Random(0), world, dag, calm=True)
        return simulation

    async def run(self, steps: Sequence[Step]) -> None:
        """Live through a history and come to rest. Raises Broken where a law does not hold."""
        for step in steps:
            await self.step(step)
        await self._rest(Random(len(steps)))
        await self._heal()

    async def step(self, step: Step) -> None:
        """Take one step, whatever comes of it, and look whether the invariants still hold."""
        self.counts["steps"] += 1
        try:
            await getattr(self, f"_{step.verb}")(step.dice())
        except Crash:
            self._say("… crashed")
            self.counts["crashes"] += 1
        except psycopg.errors.LockNotAvailable:
            self._say("… had to wait for somebody else, and gave up")
            self.counts["conflicts"] += 1
        await self._look()

    # -- what happens outside ------------------------------------------------------------------

    async def _change(self, dice: Random) -> None:
        """Somebody changes sources; the events about it come later."""
        for _ in range(dice.choice([1, 1, 2, 4])):
            await self._change_one(dice)

    async def _change_one(self, dice: Random) -> None:
        job = dice.choice(self.world.sources)
        output = job.outputs[0]
        data = self.sources[output.name]
        keys = sorted(_core(job))
        key = dice.choice(sorted(data)) if data and dice.random() < 0.75 else dice.choice(keys)
        columns = self._edit(dice, data, key, output.columns)
        existing = (await self._existing())[output.name]
        partitions = self._scope(dice, job, key, existing)
        # A filter on a partition column narrows, but only what is known already.
        rows = _filter(dice, job, key) if key in existing and dice.random() < 0.2 else None
        if rows is not None:
            partitions = None
        named = set() if partitions is None else _named(job, partitions)
        # What nobody has spoken of before is new as a whole.
        if dice.random() < 0.08 or not named <= self.spoken[output.name]:
            columns = None
        event = SourceEvent(
            dataset=output.name,
            partitions=partitions,
            columns=None if columns is None else tuple(sorted(columns)),
            rows=rows,
            reason=dice.choice(["change", "correction", "arrival"]),
        )
        self.spoken[output.name] |= named
        self.unpublished.append(event)
        self.counts["changes"] += 1
        self._say(f"change {output.name}{list(key)} {columns and sorted(columns)}: {_brief(event)}")

    def _edit(
        self, dice: Random, data: dict[Key, Rows], key: Key, columns: Sequence[str]
    ) -> Columns:
        rows = data.setdefault(key, {})
        if rows and dice.random() < 0.8:
            row = rows[dice.choice(sorted(rows))]
            touched = dice.sample(list(columns), dice.choice([1, 1, 2]))
            row.update({column: dice.randrange(4) for column in touched})
            return frozenset(touched)
        if len(rows) > 1 and dice.random() < 0.5:
            del rows[dice.choice(sorted(rows))]
        else:
            new = max(rows, default=0) + 1
            rows[new] = {column: dice.randrange(4) for column in columns}
        return None

    def _scope(
        self, dice: Random, job: Job, key: Key, existing: set[Key]
    ) -> tuple[str, ...] | None:
        """The partition, or a wider scope that has it in it."""
        space, chance = job.space, dice.random()
        if chance < 0.1 and key in existing:
            return None
        if chance < 0.2 and len(space) > 1 and is_finite(space):
            i = dice.randrange(len(space))
            return (f"{space[i].name}={key[i]}",)
        if chance < 0.35 and len(space) == 1 and space[0].is_ordered:
            other = dice.choice(sorted(_core(job)))
            first, last = sorted([key[0], other[0]], key=space[0].grid.index)
            return (f"{first}..{last}",)
        return (text(space, key),)

    async def _publish(self, dice: Random) -> None:
        """Events come in another order than the changes, some of them twice, some by hand."""
        for _ in range(dice.randint(1, 3)):
            if self.unpublished:
                event = self.unpublished.pop(dice.randrange(len(self.unpublished)))
                await self._send(dice, event)

    async def _send(self, dice: Random, event: SourceEvent) -> None:
        self.counts["events"] += 1
        if dice.random() < 0.25:
            named = replace_event(event, id=f"{dice.random()}")
            for _ in range(dice.choice([1, 1, 2])):
                await self._by_hand(dice, named)
            return
        copies = dice.choice([1, 1, 1, 2])
        self.stream += [event] * copies
        self._say(f"publish {_brief(event)}" + (" twice" if copies > 1 else ""))

    async def _by_hand(self, dice: Random, event: SourceEvent) -> None:
        """Whoever asked by hand and heard nothing asks again, with the same id."""
        self._say(f"by hand {_brief(event)}")
        try:
            await self._do(dice, lambda conn: invalidate(conn, self._scene(dice), event))
        except Crash:
            await self._do(None, lambda conn: invalidate(conn, self._scene(dice), event))

    # -- what engines do -----------------------------------------------------------------------

    async def _ingest(self, dice: Random) -> None:
        owner = dice.randrange(ENGINES)
        before = self.owners[owner]
        start = int(before or 0)
        events = self.stream[start : start + dice.randint(1, 4)]
        if not events:
            return
        batch = _batch(before, start, events)
        self._say(f"ingest {start}..{start + len(events)} by owner {owner}")
        try:
            await self._do(dice, lambda conn: ingest(conn, self.scenes[owner], batch))
        except PositionLost:
            self._say("… position lost")
            self.owners[owner] = await self._stored_position()
        else:
            # Now and then the owner dies before it knows, and begins again from what is stored.
            self.owners[owner] = str(start + len(events)) if dice.random() < 0.9 else before

    async def _stored_position(self) -> str | None:
        rows = await self._rows(
            "SELECT position FROM consumer_positions WHERE org_id = %(org)s AND stream = 's'"
        )
        return rows[0]["position"] if rows else None

    async def _plan(self, dice: Random) -> None:
        limit = dice.choice([1, 2, 1_000])
        self._say(f"plan {limit}")
        planned = await self._do(dice, lambda conn: plan(conn, self._scene(dice), limit))
        self._say(f"… {planned.tasks} tasks" if planned else "… nothing")
        self.counts["plans"] += planned is not None

    async def _claim(self, dice: Random) -> None:
        worker = f"w{dice.randrange(3)}"
        limit = dice.choice([1, 2, 3, 5, 20])
        claimant = Claimant(worker)
        leases = await self._do(dice, lambda conn: claim(conn, self._scene(dice), claimant, limit))
        if dice.random() < 0.05 and leases:
            self._say(f"claim by {worker}, and the answer is lost")
            return
        for lease in leases:
            await self._begin(lease)
        self._say(f"claim by {worker}: {', '.join(_called(each) for each in leases) or 'nothing'}")

    async def _begin(self, lease: Lease) -> None:
        job = self.world.by_name[lease.job.name]
        await self._note_facts()
        run = Run(lease, job, self.world, self.now, self._justified(lease, job))
        await self._check_waited(run)
        self.runs.append(run)
        self.counts["runs"] += 1

    def _justified(self, lease: Lease, job: Job) -> dict[str, Columns]:
        """Minimal: something that it reads was declared changed since it was last made."""
        if not lease.partitions:
            # Nothing is known of it yet, nor whether it would come out new: it may find something.
            return {output.name: None for output in job.outputs}
        keys = [UNIT] if job.is_unit else _keys(job, lease.partitions)
        dirt = self.ledger.dirt(self.world, job, lease.outputs[0].version, keys)
        if dirt is None:
            raise Broken("minimal: a run that nothing called for", _called(lease))
        return dirt

    async def _check_waited(self, run: Run) -> None:
        if all(read.wait_for == "any" for read in run.job.reads):
            return
        existing = await self._existing()
        there = existing[run.job.outputs[0].name]
        first = [key for key in _keys(run.job, run.lease.partitions) if key not in there]
        if self._waits(run.job, first, existing):
            raise Broken("a first run that should have waited for its inputs", _called(run.lease))

    def _waits(self, job: Job, first: list[Key], existing: dict[str, set[Key]]) -> bool:
        if job.is_unit:
            return bool(first) and oracle.unit_waits(self.world, job, first, existing)
        return any(oracle.waits(self.world, job, key, existing) for key in first)

    async def _read(self, dice: Random) -> None:
        if self.runs:
            await self._content(dice.choice(self.runs))

    async def _content(self, run: Run) -> dict[str, dict[Key, Rows]]:
        """Read once, whenever that is; a run that is asked again gives what it has read."""
        if run.content is None:
            self._say(f"read for {_called(run.lease)}")
            existing = await self._existing()
            found: dict[str, dict[Key, Rows]] = {output.name: {} for output in run.job.outputs}
            for key in _keys(run.job, run.lease.partitions):
                made = oracle.make(run.world, run.job, key, self._data, existing.__getitem__)
                for name, rows in made.items():
                    found[name][key] = rows
            run.content = found
        return run.content

    def _data(self, dataset: str) -> dict[Key, Rows]:
        if self.world.makers[dataset].is_source:
            return self.sources[dataset]
        return self.warehouse[dataset, self.versions[dataset]]

    async def _finish(self, dice: Random) -> None:
        for _ in range(dice.choice([1, 1, 2, 5])):
            if self.runs:
                await self._end(dice, self.runs[dice.randrange(len(self.runs))])

    async def _end(self, dice: Random | None, run: Run) -> None:
        content = await self._content(run)
        completion = Completion(run.lease, tuple(_reported(run, content)))
        self._say(f"finish {_called(run.lease)}")
        self.runs.remove(run)
        try:
            await self._do(dice, lambda conn: complete(conn, self._scene(dice), completion))
        except LeaseLost:
            self._say("… lease lost")
            if await self._holds(run.lease):
                raise Broken("a good lease was refused", _called(run.lease)) from None
        except (Crash, psycopg.errors.LockNotAvailable):
            self.runs.append(run)
            raise
        else:
            self._write(run, content)

    async def _holds(self, lease: Lease) -> bool:
        rows = await self._rows(
            "SELECT FROM tasks WHERE org_id = %(org)s AND id = %(id)s AND lease_token = %(token)s "
            "AND status = 'running'",
            id=lease.task_id,
            token=lease.token,
        )
        return bool(rows)

    def _write(self, run: Run, content: dict[str, dict[Key, Rows]]) -> None:
        """What an accepted run made is there now; what came out new is remembered."""
        has_changed = False
        for dataset in run.lease.outputs:
            there = self.warehouse[dataset.name, dataset.version]
            new = {k for k, rows in content[dataset.name].items() if there.get(k) != rows}
            there.update(content[dataset.name])
            # A task is what the others wait for: all of it came out new, or nothing.
            has_changed = has_changed or bool(new) or not _tells(run.job)
        for dataset in run.lease.outputs:
            if has_changed:
                for key in content[dataset.name]:
                    self.ledger.changed[dataset.name, key] = self.now
            if dataset.name in run.dirt:
                self.ledger.declared[dataset.name] += [
                    Declared(self.now, key, run.dirt[dataset.name]) for key in content[dataset.name]
                ]
        generation = run.lease.outputs[0].version
        for key in [UNIT] if run.job.is_unit else content[run.job.outputs[0].name]:
            self.ledger.made[generation, key] = run.at
        self.counts["tasks"] += 1

    async def _fail(self, dice: Random) -> None:
        if self.runs:
            run = self.runs.pop(dice.randrange(len(self.runs)))
            self._say(f"fail {_called(run.lease)}")
            final = dice.random() < 0.3
            try:
                await self._do(
                    dice,
                    lambda conn: fail(
                        conn, self._scene(dice), run.lease, "it broke", retryable=not final
                    ),
                )
            except LeaseLost:
                self._say("… lease lost")

    async def _vanish(self, dice: Random) -> None:
        """A worker dies without a word."""
        if self.runs:
            run = self.runs.pop(dice.randrange(len(self.runs)))
            self._say(f"{run.lease.worker_id} dies over {_called(run.lease)}")

    async def _expire(self, dice: Random) -> None:
        """Some leases run out, though maybe their workers are still at it."""
        rows = await self._rows(
            "SELECT id FROM tasks WHERE org_id = %(org)s AND status = 'running' ORDER BY id"
        )
        if rows:
            await self._expire_these([dice.choice(rows)["id"]])
            reaped = await self._do(dice, lambda conn: reap(conn, self._scene(dice)))
            self._say(f"reap {reaped}")

    async def _expire_these(self, ids: list[UUID]) -> None:
        await self._rows(
            "UPDATE tasks SET lease_expires_at = '2000-01-01' WHERE org_id = %(org)s "
            "AND id = ANY(%(ids)s) AND status = 'running' RETURNING id",
            ids=ids,
        )

    async def _heartbeat(self, dice: Random) -> None:
        """A worker that hears that its lease is lost stops; one that does not goes on."""
        if self.runs:
            run = dice.choice(self.runs)
            alive = await self._do(dice, lambda conn: heartbeat(conn, [run.lease], 30))
            if not alive:
                self._say(f"{run.lease.worker_id} hears that {_called(run.lease)} is lost")
                self.runs.remove(run)

    async def _tick(self, dice: Random | None) -> None:
        """Time passes: what was to be tried again later may be tried now."""
        await self._rows(
            "UPDATE tasks SET next_retry_at = NULL WHERE org_id = %(org)s RETURNING id"
        )

    async def _mend(self, dice: Random) -> None:
        """An operator looks after a failed task."""
        rows = await self._rows(
            "SELECT id FROM tasks WHERE org_id = %(org)s AND status = 'failed' ORDER BY id"
        )
        if rows:
            await self._mend_this(dice, dice.choice(rows)["id"])

    async def _mend_this(self, dice: Random, task: UUID) -> None:
        """Retry it; or cancel it, and have its partitions made again later."""
        if dice.random() < 0.6:
            self._say("retry a failed task")
            await self._do(dice, lambda conn: retry(conn, self._scene(dice), task))
            return
        row = (
            await self._rows(
                "SELECT j.name, t.partitions FROM tasks t JOIN jobs j ON j.id = t.job_id "
                "WHERE t.id = %(id)s AND t.org_id = %(org)s",
                id=task,
            )
        )[0]
        self._say(f"cancel {row['name']}{row['partitions']}")
        await self._do(dice, lambda conn: cancel(conn, self._scene(dice), task))
        dataset = self.world.by_name[row["name"]].outputs[0].name
        event = SourceEvent(
            dataset=dataset, partitions=tuple(row["partitions"]) or None, reason="manual"
        )
        self.unpublished.append(event)

    async def _invalidate(self, dice: Random) -> None:
        """Somebody says that something made is wrong, or that they have mended it by hand."""
        if not self.world.made:
            return
        job = dice.choice(self.world.made)
        dataset = dice.choice(job.outputs).name
        there = sorted((await self._existing())[dataset])
        if not there:
            return
        event = SourceEvent(
            dataset=dataset,
            partitions=(text(job.space, dice.choice(there)),) if dice.random() < 0.8 else None,
            reason=dice.choice(["manual", "rewritten"]),
        )
        self.unpublished.append(event)
        self._say(f"invalidate {_brief(event)}")

    async def _deploy(
        self,
        dice: Random,
        world: World | None = None,
        dag: str | None = None,
        *,
        calm: bool = False,
    ) -> None:
        world = world or self._other_world(dice)
        if dag is None:
            changed = [d for d in world.dags if world.text(d) != self.world.text(d)]
            if not changed:
                return
            dag = dice.choice(changed)
            world = self.world.with_dag(dag, world)
        self._say(f"deploy {dag}: {self._difference(world)}")
        parsed = parse_dag(json.dumps(world.text(dag)), where=f"{dag}.yaml")
        try:
            await self._do(None if calm else dice, lambda c: deploy(c, self._scene(dice), parsed))
        except InvalidDag as error:
            if calm:
                raise
            self._say(f"… refused: {error}")
            return
        self.counts["deploys"] += 1
        if world is not self.world:
            self.earlier.append(self.world)
        self.world = world
        rows = await self._rows(
            "SELECT name, dataset_version FROM current_datasets WHERE org_id = %(org)s"
        )
        self.versions = {row["name"]: row["dataset_version"] for row in rows}

    def _difference(self, world: World) -> str:
        return ", ".join(sorted({job.name for job in {*world.jobs} ^ {*self.world.jobs}}))

    def _other_world(self, dice: Random) -> World:
        chance = dice.random()
        if chance < 0.15 and self.earlier:
            return dice.choice(self.earlier)
        if chance < 0.3 and len(self.world.made) > 1:
            gone = [job for job in self.world.leaves() if not job.is_source]
            return self.world.without(dice.choice(gone).name)
        if chance < 0.5:
            maker = Maker(dice)
            maker.zone, maker.anchor = "UTC", _anchor(self.world)
            n = 100 + dice.randrange(10_000)
            return World((*self.world.jobs, maker.job(n, max(self.world.dags), self.world.jobs)))
        if not self.world.made:
            return self.world
        job = dice.choice(self.world.made)
        if chance < 0.65:
            return self.world.replacing(replace(job, per_task=dice.choice([1, 2, 3])))
        if chance < 0.75:
            reads = tuple(replace(read, wait_for="any") for read in job.reads)
            return self.world.replacing(replace(job, reads=reads))
        return self.world.replacing(replace(job, salt=job.salt + 1000))

    # -- at rest -------------------------------------------------------------------------------

    async def _rest(self, dice: Random) -> None:
        """Let everything come to rest, and compare it with a recompute of everything."""
        self._say("rest")
        await self._drain()
        await self._check_rest()

    async def _heal(self) -> None:
        """Mend what failed, until nothing is left that would excuse anything."""
        for turn in range(PATIENCE):
            rows = await self._rows(
                "SELECT id FROM tasks WHERE org_id = %(org)s AND status = 'failed' ORDER BY id"
            )
            if not rows:
                break
            for row in rows:
                if turn < 2 or row is rows[0]:
                    await self._mend_calmly(row["id"])
            await self._drain()
        await self._drain()
        await self._check_rest()

    async def _mend_calmly(self, task: UUID) -> None:
        self._say("retry a failed task")
        await self._do(None, lambda conn: retry(conn, self.scenes[0], task))

    async def _drain(self) -> None:
        dice = Random(self.now)
        for _ in range(PATIENCE):
            while self.unpublished:
                event = self.unpublished.pop(0)
                self.stream.append(event)
                self._say(f"publish {_brief(event)}")
            moved = await self._drain_stream()
            while await self._do(None, lambda conn: plan(conn, self.scenes[0])):
                await self._note_facts()
                self.counts["plans"] += 1
                moved = True
            while self.runs:
                await self._end(None, dice.choice(self.runs))
                moved = True
            await self._reap_the_dead()
            await self._tick(None)
            leases = await self._do(
                None, lambda conn: claim(conn, self.scenes[0], Claimant("w0"), 5)
            )
            for lease in leases:
                await self._begin(lease)
            if not moved and not leases:
                return
            await self._look()
        raise Broken("it never comes to rest", self.org)

    async def _drain_stream(self) -> bool:
        stored = await self._stored_position()
        start = int(stored or 0)
        if start == len(self.stream):
            return False
        batch = _batch(stored, start, self.stream[start:])
        self._say(f"ingest {start}..{len(self.stream)}")
        await self._do(None, lambda conn: ingest(conn, self.scenes[0], batch))
        return True

    async def _reap_the_dead(self) -> None:
        rows = await self._rows(
            "SELECT id FROM tasks WHERE org_id = %(org)s AND status = 'running'"
        )
        if rows:
            await self._expire_these([row["id"] for row in rows])
            await self._do(None, lambda conn: reap(conn, self.scenes[0]))

    async def _check_rest(self) -> None:
        existing = await self._existing()
        excused = await self._excused(existing)
        self._check_existing(existing, excused)
        expected = oracle.recomputed(self.world, self.sources, existing)
        for job in self.world.made:
            for output in job.outputs:
                there = self.warehouse[output.name, self.versions[output.name]]
                for key, rows in expected[output.name].items():
                    if there[key] != rows and key not in excused[job.name]:
                        what = f"{output.name}[{text(job.space, key)}]: {there[key]}, not {rows}"
                        raise Broken("sound: a partition is not what a recompute gives", what)
        self.counts["rests"] += 1

    def _check_existing(self, existing: dict[str, set[Key]], excused: dict[str, set[Key]]) -> None:
        for job in self.world.jobs:
            for output in job.outputs:
                there = existing[output.name]
                if job.is_source:
                    must, may = self.spoken[output.name], set(universe(job.space))
                else:
                    must = oracle.must_exist(self.world, job, existing)
                    may = oracle.may_exist(self.world, job, existing) | there
                    kept = set(self.warehouse[output.name, self.versions[output.name]])
                    if kept != there:
                        raise Broken("what exists is what was made", (output.name, kept ^ there))
                if missing := must - there - excused[job.name]:
                    raise Broken("sound: a partition is missing", (output.name, sorted(missing)))
                if surplus := there - may:
                    raise Broken("a partition that cannot be", (output.name, sorted(surplus)))

    async def _excused(self, existing: dict[str, set[Key]]) -> dict[str, set[Key]]:
        """What is behind failed or held tasks; anything else that is unfinished is an error."""
        rows = await self._rows(
            "WITH RECURSIVE stuck AS (SELECT id FROM tasks WHERE org_id = %(org)s "
            "AND (status = 'failed' OR status = 'blocked' AND waiting_for IS NOT NULL) "
            "UNION SELECT d.task_id FROM stuck s JOIN task_dependencies d ON d.depends_on = s.id) "
            "SELECT t.id, j.name, t.slot, t.status, t.partitions, t.waiting_for, "
            "t.id IN (SELECT id FROM stuck) AS stuck "
            "FROM tasks t JOIN jobs j ON j.id = t.job_id WHERE t.org_id = %(org)s "
            "AND t.status IN ('blocked', 'queued', 'running', 'failed')"
        )
        excused: dict[str, set[Key]] = defaultdict(set)
        for row in rows:
            job = self.world.by_name[row["name"]]
            keys = _keys(job, row["partitions"])
            what = f"{row['name']}[{row['slot']}] {row['status']}"
            if row["status"] not in ("blocked", "failed") or not row["stuck"]:
                raise Broken("at rest there is nothing left to do", what)
            if row["waiting_for"] is not None:
                first = [key for key in keys if key not in existing[job.outputs[0].name]]
                if not self._waits(job, first, existing):
                    raise Broken("held, though all that it waits for is there", what)
            excused[job.name] |= {*universe(job.space)} if job.is_unit else {*keys}
        return excused

    async def _existing(self) -> dict[str, set[Key]]:
        rows = await self._rows(
            "SELECT c.name, p.partition_key FROM current_datasets c JOIN partition_versions p "
            "ON p.dataset_uuid = c.dataset_uuid AND p.dataset_version = c.dataset_version "
            "WHERE c.org_id = %(org)s"
        )
        found: dict[str, set[Key]] = defaultdict(set)
        for row in rows:
            maker = self.world.makers.get(row["name"])
            if maker is not None:
                found[row["name"]] |= {*_keys(maker, [row["partition_key"]])}
        return found

    # -- how it is done ------------------------------------------------------------------------

    def _scene(self, dice: Random | None) -> Scene:
        return self.scenes[dice.randrange(ENGINES) if dice else 0]

    async def _do(self, dice: Random | None, verb: Callable[[Connection], Awaitable[T]]) -> T:
        """Do a verb; it may die on its way (Crash), or have something else happen in between."""
        self.now += 1
        async with self.database.connection() as conn:
            await conn.execute(_IMPATIENT)
            if dice is None or self.is_calm:
                return await verb(conn)
            chance, at = dice.random(), dice.randrange(STATEMENTS)
            if chance < CRASHES:
                with interrupted(conn, at, self._crash):
                    return await verb(conn)
            if chance < CRASHES + MEETINGS and not self._depth:
                other = Step(dice.choice(MEETING), dice.randrange(2**32))
                with interrupted(conn, at, lambda: self._meanwhile(other)):
                    return await verb(conn)
            return await verb(conn)

    async def _crash(self) -> None:
        raise Crash

    async def _meanwhile(self, step: Step) -> None:
        self._depth += 1
        self._say(f"meanwhile, {step.verb}:")
        self.counts["meetings"] += 1
        try:
            await getattr(self, f"_{step.verb}")(step.dice())
        except Crash:
            self._say("… crashed")
        except psycopg.errors.LockNotAvailable:
            self._say("… had to wait for somebody else, and gave up")
            self.counts["conflicts"] += 1
        finally:
            await self._note_facts()
            self._depth -= 1
            self.now += 1

    async def _look(self) -> None:
        await self._note_facts()
        async with self.database.connection() as conn:
            await self.invariants.check(conn)

    async def _note_facts(self) -> None:
        """What has been planned is declared from here on."""
        rows = await self._rows(
            "SELECT i.id, d.name, i.partition_key, i.columns, i.row_filter, i.reason "
            "FROM data_invalidations i JOIN datasets d ON d.id = i.dataset_uuid "
            "WHERE i.org_id = %(org)s AND i.plan_id IS NOT NULL AND NOT i.id = ANY(%(seen)s)",
            seen=self.seen,
        )
        for row in rows:
            self.seen.append(row["id"])
            maker = self.world.makers.get(row["name"])
            if maker is not None:
                self._note(maker, row)

    def _note(self, maker: Job, row: dict[str, Any]) -> None:
        name, said = row["name"], row["partition_key"]
        keys: list[Key | None] = [None] if said is None else [*read_text(maker.space, said)]
        if row["row_filter"] is not None:
            among = read_text(maker.space, said)
            keys = [key for key in among if _meets(maker, key, row["row_filter"])]
        columns = None if row["columns"] is None else frozenset(row["columns"])
        facts = [Declared(self.now, key, columns) for key in keys]
        if maker.is_source or row["reason"] == "rewritten":
            self.ledger.declared[name] += facts
            for key in universe(maker.space) if said is None else keys:
                self.ledger.changed[name, key] = self.now
        else:
            self.ledger.wrong[name] += facts

    async def _rows(self, statement: str, **params: Any) -> list[dict[str, Any]]:
        async with self.database.connection() as conn:
            await conn.execute(_IMPATIENT)
            cursor = await conn.execute(statement.encode(), {"org": self.org, **params})
            return await cursor.fetchall()

    def _say(self, line: str) -> None:
        self.log.append(f"{self.now:4} {'    ' * self._depth}{line}")


MEETING = ("plan", "claim", "finish", "ingest", "expire", "fail", "deploy", "mend")
"""What may happen in the middle of something else."""


def _batch(before: str | None, start: int, events: Sequence[SourceEvent]) -> Batch:
    return Batch(
        consumer="c",
        received=tuple(
            Received(event=event, stream="s", position=str(start + n))
            for n, event in enumerate(events)
        ),
        advances=(Advance(stream="s", before=before, after=str(start + len(events))),),
    )


def _core(job: Job) -> list[Key]:
    """The partitions that something happens in; of endless dimensions, some in the middle."""
    spaces = [_middle(d) for d in job.space]
    return [*universe(tuple(spaces))]


def _middle(d: Any) -> Any:
    if d.is_finite or not d.is_ordered:
        return d
    lo = d.bounds[0] if d.bounds[0] is not None else len(d.grid) // 2 - 2
    return replace(d, bounds=(lo, lo + 4))


def _filter(dice: Random, job: Job, key: Key) -> dict[str, Any] | None:
    """A row filter on a partition column that the partition's rows meet."""
    if not job.space:
        return None
    i = dice.randrange(len(job.space))
    d = job.space[i]
    if d.kind == "range":
        lo, hi = d.span(d.grid.index(key[i]))
        return {d.name: dice.choice([{"gte": lo, "lt": hi}, {"in": [lo, hi - 1]}, hi - 1])}
    if d.kind == "time":
        return {d.name: {"gte": key[i], "lte": key[i]}} if d.grain == "day" else None
    return {d.name: dice.choice([key[i], {"in": [key[i]]}])}


def _meets(job: Job, key: Key, rows: dict[str, Any]) -> bool:
    """Whether a partition may hold rows that meet a filter of the kind made here."""
    for d, part in zip(job.space, key, strict=True):
        if d.name not in rows:
            continue
        said = rows[d.name]
        if d.kind != "range":
            wanted = said["gte"] if isinstance(said, dict) else said
            if part != wanted:
                return False
        else:
            lo, hi = d.span(d.grid.index(part))
            wanted = said.get("gte", 0) if isinstance(said, dict) and "in" not in said else None
            values = said["in"] if isinstance(said, dict) and "in" in said else [said]
            values = values if wanted is None else [wanted]
            if not any(lo <= value < hi for value in values):
                return False
    return True


def _named(job: Job, texts: Sequence[str]) -> set[Key]:
    return set().union(*(read_text(job.space, each) for each in texts))


def _keys(job: Job, texts: Sequence[str]) -> list[Key]:
    return [key for each in texts for key in read_text(job.space, each)]


def _tells(job: Job) -> bool:
    """Some jobs do not say what their content is; it counts as changed each time."""
    return job.salt % 7 != 0


def _reported(run: Run, content: dict[str, dict[Key, Rows]]) -> list[Made]:
    return [
        Made(name, text(run.job.space, key), _fingerprint(rows) if _tells(run.job) else None)
        for name, partitions in content.items()
        for key, rows in partitions.items()
    ]


def _fingerprint(rows: Rows) -> str:
    return str(crc32(repr(sorted(rows.items())).encode()))


def _anchor(world: World) -> Any:
    times = (d.anchor for job in world.jobs for d in job.space if d.kind == "time")
    return next(times, ANCHORS["UTC"])


def replace_event(event: SourceEvent, **changes: Any) -> SourceEvent:
    """The event with other fields."""
    fields = {name: getattr(event, name) for name in event.__struct_fields__}
    return SourceEvent(**fields | changes)


def _called(lease: Lease) -> str:
    return f"{lease.job.name}[{','.join(lease.partitions)}]"


def _brief(event: SourceEvent) -> str:
    where = "all" if event.partitions is None else ",".join(event.partitions)
    columns = "" if event.columns is None else f" of {','.join(event.columns)}"
    rows = "" if event.rows is None else f" where {event.rows}"
    return f"{event.reason} {event.dataset}[{where}]{columns}{rows}"
