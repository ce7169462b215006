"""Rest: all possible work is complete, and the data equal a recomputation from scratch."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Awaitable, Callable
from functools import partial
from random import Random

from engine.flow.planning.audit import Counts, audit, audit_all
from tests.simulation import recompute
from tests.simulation.approvals import Approvals
from tests.simulation.being import in_being
from tests.simulation.declarations import Declarations
from tests.simulation.dimensions import Key, read_text, text, universe
from tests.simulation.engines import Engines
from tests.simulation.invariants import Broken
from tests.simulation.operators import Operators
from tests.simulation.outputs import Outputs
from tests.simulation.pauses import Pauses
from tests.simulation.runs import keys_of
from tests.simulation.state import SINGLE_RUN_KEY, SimulationState
from tests.simulation.workers import Workers
from tests.simulation.world import Job

MAX_ROUNDS = 400
MAX_AUDITS = 40
"""Maximum number of audits until nothing is lost; each may repair only the next job downstream."""
Keys = dict[str, set[Key]]

_UNFINISHED = """
WITH RECURSIVE stuck AS (
    SELECT id FROM tasks WHERE org_id = %(org)s
    AND (status = 'failed' OR status = 'blocked' AND waiting_for IS NOT NULL)
    UNION SELECT d.task_id FROM stuck s JOIN task_dependencies d ON d.depends_on = s.id)
SELECT t.id, j.name, t.block_key, t.status, t.partitions, t.waiting_for,
       t.id IN (SELECT id FROM stuck) AS stuck
FROM tasks t JOIN jobs j ON j.id = t.job_id
WHERE t.org_id = %(org)s AND t.status IN ('blocked', 'queued', 'running', 'failed')
"""


_LATER = """
SELECT d.name, i.partition_key, i.after_partition FROM data_invalidations i
JOIN datasets d ON d.id = i.dataset_uuid
WHERE i.org_id = %(org)s AND i.processed_at IS NULL AND i.reason IN ('continued', 'requested')
"""


class Rest:
    """Completion of all work, and comparison with a recomputation of everything."""

    def __init__(
        self,
        state: SimulationState,
        engines: Engines,
        workers: Workers,
        outputs: Outputs,
        operators: Operators,
        approvals: Approvals,
        declarations: Declarations,
        pauses: Pauses,
        check_invariants: Callable[[], Awaitable[None]],
        *,
        is_mending: bool,
    ) -> None:
        self.state = state
        self.engines = engines
        self.workers = workers
        self.outputs = outputs
        self.operators = operators
        self.approvals = approvals
        self.declarations = declarations
        self.pauses = pauses
        self.check_invariants = check_invariants
        self.is_mending = is_mending
        """Lost partitions are repaired by the audit before tables are compared."""

    async def rest(self, rng: Random) -> None:
        self.state.log_line("complete all work and check", "checks at rest")
        await self._complete_work()
        await self._check()

    async def recover(self) -> None:
        """Retry failed tasks, and request stale partitions, until no partition is excused."""
        await self._complete_work()
        await self.approvals.lift_limits()
        await self.operators.request_excused()
        for turn in range(MAX_ROUNDS):
            failed = await self.operators.failed()
            if not failed:
                break
            for task in failed if turn < 2 else failed[:1]:
                await self.operators.retry(task)
            await self._drain()
        await self._complete_work()
        await self._check()

    async def _complete_work(self) -> None:
        """Drain; in repairing trials, alternate with audits until nothing is lost.

        Paused work is resumed after all other work, when nothing may be lost either.
        """
        if self.state.paused:
            await self._drain()
            if not self.is_mending:
                await self._audit()
            await self.pauses.resume_all()
        await self._drain()
        for _ in range(MAX_AUDITS if self.is_mending else 0):
            if not await self._mend():
                return
            await self._drain()
        if self.is_mending:
            raise Broken("the audit repairs all lost partitions", self.state.org)

    async def _mend(self) -> int:
        """Invalidate lost partitions, with no limit on the plans recomputing them."""
        org = self.state.org_context()
        counts: Counts = await self.state.do("audit", lambda c: audit_all(c, org, mend=True))
        if counts.lost:
            self.state.log_line(f"the audit mends {counts.lost} partitions")
            self.state.counts["partitions mended by the audit"] += counts.lost
            await self.approvals.lift_limits()
        return counts.lost

    async def _drain(self) -> None:
        rng = Random(self.state.now)
        for _ in range(MAX_ROUNDS):
            progressed = await self.approvals.apply_all()
            self.engines.upstream.publish_all()
            progressed |= await self.engines.ingest_all()
            progressed |= await self.engines.fire_all()
            progressed |= await self.engines.begin_all()
            await self.pauses.pass_quiet_time()
            progressed |= await self.engines.plan_all()
            progressed |= await self.approvals.decide_all(rng)
            progressed |= await self.workers.finish_calmly(rng)
            await self.engines.reap_expired()
            progressed |= await self.workers.claim_calmly()
            if not progressed:
                return
            await self.check_invariants()
        raise Broken("work never completes", self.state.org)

    async def _audit(self) -> None:
        """Check the audit at rest: nothing is lost, and partly written partitions are stale."""
        async with self.state.connection() as conn:
            slices = [part async for part in audit(conn, self.state.org_context())]
        stale = [partition for part in slices for partition in part.stale]
        lost = [partition for partition in stale if partition.verdict == "lost"]
        if lost:
            raise Broken("the audit finds nothing lost", lost[0])
        unlisted = self._partly_written() - {
            (partition.dataset, partition.partition) for partition in stale
        }
        if unlisted:
            raise Broken("the audit lists partly written partitions", sorted(unlisted))

    def _partly_written(self) -> set[tuple[str, str]]:
        """Return the partitions with an incomplete attempt since they were last built."""
        partitions = set()
        for job in self.state.world.derived_jobs:
            name = job.outputs[0].name
            version = self.state.versions[name]
            for key in {SINGLE_RUN_KEY} if job.is_single_run else universe(job.space):
                if self.outputs.is_partly_written(version, key):
                    partitions.add((name, "*" if job.is_single_run else text(job.space, key)))
        return partitions

    async def _check(self) -> None:
        existing = await self.state.existing()
        excused = await self._excused(existing)
        self._check_existing(existing, excused)
        for job in self.state.world.derived_jobs:
            for key in existing[job.outputs[0].name] - excused[job.name]:
                if not self._reads_unreported_rows(job, key, existing):
                    self._check_partition(job, key, existing)
        await self._audit()

    def _reads_unreported_rows(self, job: Job, key: Key, existing: Keys) -> bool:
        """Return whether an input contains rows neither written by a completed run nor reported.

        An attempt left the rows behind, or an operator edited them and only invalidated the
        dataset. No run has completed since, because of a cancellation or failure.
        """
        return any(
            recompute.reads_any(self.state.world, job, key, existing, rows)
            for rows in (self.state.partial_writes, self.state.unannounced)
        )

    def _check_partition(self, job: Job, key: Key, existing: Keys) -> None:
        """Compare with a run on the current inputs, correct or not."""
        expected = recompute.make(self.state.world, job, key, self.state.data, existing.__getitem__)
        for name, rows in expected.items():
            stored = self.state.data(name)[key]
            if stored != rows:
                details = f"{name}[{text(job.space, key)}]: {stored}, not {rows}"
                raise Broken("sound: a partition differs from its recomputation", details)

    def _check_existing(self, existing: Keys, excused: Keys) -> None:
        for job in self.state.world.jobs:
            must, may = self._bounds(job, existing, excused)
            may |= self._requested(job)
            for output in job.outputs:
                existing_keys = existing[output.name]
                if not job.is_source:
                    built = {*self.state.data(output.name)}
                    if built != existing_keys:
                        raise Broken(
                            "existing partitions equal built partitions",
                            (output.name, built ^ existing_keys),
                        )
                if missing := must - existing_keys - excused[job.name]:
                    raise Broken("sound: a partition is missing", (output.name, sorted(missing)))
                if surplus := existing_keys - may - self.state.retained[output.name]:
                    raise Broken("sound: a partition cannot exist", (output.name, sorted(surplus)))

    def _requested(self, job: Job) -> set[Key]:
        """Return the partitions named by requests, which are built even without inputs."""
        wrong = self.state.ledger.wrong
        declared = [change for output in job.outputs for change in wrong[output.name]]
        return {change.key for change in declared if change.key is not None}

    def _bounds(self, job: Job, existing: Keys, excused: Keys) -> tuple[set[Key], set[Key]]:
        """Return the required and the possible partitions."""
        world = self.state.world
        if job.is_source:
            name = job.outputs[0].name
            named_by_events, rejected = (
                self.engines.upstream.named_by_events[name],
                self.declarations.rejected[name],
            )
            return named_by_events - (rejected - self.state.announced[name]), {*universe(job.space)}
        must = {
            key
            for key in recompute.must_exist(world, job, existing, self.state.sources)
            if in_being(world, job, key, existing, self.state.moment)
        }
        return must, recompute.may_exist(world, job, self._readable(job, existing, excused))

    def _readable(self, job: Job, existing: Keys, excused: Keys) -> dict[str, set[Key]]:
        """Return the input partitions for which outputs may have been built.

        A reader may have been built for an input whose first run was canceled, and is perhaps
        requested again meanwhile. A single run builds everything, also for partitions of a source
        whose plan was rejected.
        """
        readable = {}
        for name in {read.dataset for read in job.reads}:
            left = excused[self.state.world.producers[name].name]
            rejected = self.declarations.rejected[name] if job.is_single_run else set()
            readable[name] = existing[name] | left | rejected
        return readable

    async def _excused(self, existing: Keys) -> Keys:
        """Return partitions behind failed or waiting tasks; other unfinished tasks are an error."""
        excused: Keys = defaultdict(set)
        unfinished: Keys = defaultdict(set)
        for job in self.state.world.derived_jobs:
            excused[job.name] |= self.state.decisions.excused(job)
            excused[job.name] |= {*universe(job.space)} if job.is_manual else set()
        for row in await self.state.rows(_UNFINISHED):
            job = self.state.world.by_name[row["name"]]
            keys = keys_of(job, row["partitions"])
            task = f"{row['name']}[{row['block_key']}] {row['status']}"
            if row["status"] not in ("blocked", "failed") or not row["stuck"]:
                raise Broken("at rest no work is left", task)
            if row["waiting_for"] is not None:
                self.state.counts["task waiting for inputs"] += 1
                if not recompute.task_waits(
                    self.state.world,
                    job,
                    keys,
                    existing,
                    partial(in_being, moment=self.state.moment),
                ):
                    raise Broken("a task waits although its inputs exist", task)
            excused[job.name] |= {*universe(job.space)} if job.is_single_run else {*keys}
            unfinished[job.name] |= {*keys}
        for row in await self.state.rows(_LATER):
            job = self.state.world.producers[row["name"]]
            if not read_text(job.space, row["after_partition"]) & unfinished[job.name]:
                raise Broken("at rest no partition of a chain waits", row)
            self.state.counts["chain behind an unfinished task"] += 1
            excused[job.name] |= read_text(job.space, row["partition_key"])
        return excused
