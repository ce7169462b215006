"""Rest: all possible work is complete, and the data equal a recomputation from scratch."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Awaitable, Callable
from random import Random

from engine.flow.planning.audit import Counts, audit, audit_all
from tests.simulation import recompute
from tests.simulation.approvals import Approvals
from tests.simulation.declarations import Declarations
from tests.simulation.dimensions import Key, text, universe
from tests.simulation.engines import Engines
from tests.simulation.invariants import Broken
from tests.simulation.people import People
from tests.simulation.stage import SINGLE_RUN_KEY, Stage
from tests.simulation.workers import Workers, keys_of
from tests.simulation.world import Job

PATIENCE = 400
MENDINGS = 40
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


class Rest:
    """Completion of all work, and comparison with a recomputation of everything."""

    def __init__(
        self,
        stage: Stage,
        engines: Engines,
        workers: Workers,
        people: People,
        approvals: Approvals,
        declarations: Declarations,
        check_invariants: Callable[[], Awaitable[None]],
        *,
        is_mending: bool,
    ) -> None:
        self.stage = stage
        self.engines = engines
        self.workers = workers
        self.people = people
        self.approvals = approvals
        self.declarations = declarations
        self.check_invariants = check_invariants
        self.is_mending = is_mending
        """Lost partitions are repaired by the audit before tables are compared."""

    async def rest(self, dice: Random) -> None:
        self.stage.log_line("rest", "rests")
        await self._settle()
        await self._check()

    async def heal(self) -> None:
        """Retry failed tasks, and request stale partitions, until no partition is excused."""
        await self._settle()
        await self.approvals.lift_limits()
        await self.people.request_excused()
        for turn in range(PATIENCE):
            failed = await self.people.failed()
            if not failed:
                break
            for task in failed if turn < 2 else failed[:1]:
                await self.people.retry(task)
            await self._drain()
        await self._settle()
        await self._check()

    async def _settle(self) -> None:
        """Drain; in repairing trials, alternate with audits until nothing is lost."""
        await self._drain()
        for _ in range(MENDINGS if self.is_mending else 0):
            if not await self._mend():
                return
            await self._drain()
        if self.is_mending:
            raise Broken("the audit repairs what it finds lost", self.stage.org)

    async def _mend(self) -> int:
        """Invalidate lost partitions, with no limit on the plans recomputing them."""
        org = self.stage.org_context()
        counts: Counts = await self.stage.do("audit", lambda c: audit_all(c, org, mend=True))
        if counts.lost:
            self.stage.log_line(f"the audit mends {counts.lost}")
            self.stage.counts["mended by the audit"] += counts.lost
            await self.approvals.lift_limits()
        return counts.lost

    async def _drain(self) -> None:
        dice = Random(self.stage.now)
        for _ in range(PATIENCE):
            moved = await self.approvals.apply_all()
            self.engines.upstream.publish_all()
            moved |= await self.engines.ingest_all()
            moved |= await self.engines.plan_all()
            moved |= await self.approvals.decide_all(dice)
            moved |= await self.workers.finish_calmly(dice)
            await self.engines.reap_expired()
            moved |= await self.workers.claim_calmly()
            if not moved:
                return
            await self.check_invariants()
        raise Broken("it never comes to rest", self.stage.org)

    async def _audit(self) -> None:
        """Check the audit at rest: nothing is lost, and partly written partitions are stale."""
        async with self.stage.connection() as conn:
            slices = [each async for each in audit(conn, self.stage.org_context())]
        stale = [each for part in slices for each in part.stale]
        lost = [each for each in stale if each.verdict == "lost"]
        if lost:
            raise Broken("the audit finds nothing lost", lost[0])
        unlisted = self._partly_written() - {(each.dataset, each.partition) for each in stale}
        if unlisted:
            raise Broken("the audit lists what was partly written", sorted(unlisted))

    def _partly_written(self) -> set[tuple[str, str]]:
        """Return the partitions with an incomplete attempt since they were last built."""
        partitions = set()
        for job in self.stage.world.derived_jobs:
            name = job.outputs[0].name
            version = self.stage.versions[name]
            for key in {SINGLE_RUN_KEY} if job.is_single_run else universe(job.space):
                if self.workers.is_partly_written(version, key):
                    partitions.add((name, "*" if job.is_single_run else text(job.space, key)))
        return partitions

    async def _check(self) -> None:
        existing = await self.stage.existing()
        excused = await self._excused(existing)
        self._check_existing(existing, excused)
        for job in self.stage.world.derived_jobs:
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
            recompute.reads_any(self.stage.world, job, key, existing, rows)
            for rows in (self.stage.spilled, self.stage.unannounced)
        )

    def _check_partition(self, job: Job, key: Key, existing: Keys) -> None:
        """Compare with a run on the current inputs, correct or not."""
        expected = recompute.make(self.stage.world, job, key, self.stage.data, existing.__getitem__)
        for name, rows in expected.items():
            stored = self.stage.data(name)[key]
            if stored != rows:
                what = f"{name}[{text(job.space, key)}]: {stored}, not {rows}"
                raise Broken("sound: a partition is not what a recompute gives", what)

    def _check_existing(self, existing: Keys, excused: Keys) -> None:
        for job in self.stage.world.jobs:
            must, may = self._bounds(job, existing)
            for output in job.outputs:
                existing_keys = existing[output.name]
                if not job.is_source:
                    kept = {*self.stage.data(output.name)}
                    if kept != existing_keys:
                        raise Broken(
                            "what exists is what was made", (output.name, kept ^ existing_keys)
                        )
                    may = may | existing_keys
                if missing := must - existing_keys - excused[job.name]:
                    raise Broken("sound: a partition is missing", (output.name, sorted(missing)))
                if surplus := existing_keys - may:
                    raise Broken("a partition that cannot be", (output.name, sorted(surplus)))

    def _bounds(self, job: Job, existing: Keys) -> tuple[set[Key], set[Key]]:
        """Return the required and the possible partitions."""
        world = self.stage.world
        if job.is_source:
            name = job.outputs[0].name
            named_by_events, rejected = (
                self.engines.upstream.named_by_events[name],
                self.declarations.rejected[name],
            )
            return named_by_events - (rejected - self.stage.announced[name]), {*universe(job.space)}
        must = recompute.must_exist(world, job, existing, self.stage.sources)
        return must, recompute.may_exist(world, job, existing)

    async def _excused(self, existing: Keys) -> Keys:
        """Return partitions behind failed or waiting tasks; other unfinished tasks are an error."""
        excused: Keys = defaultdict(set)
        for job in self.stage.world.derived_jobs:
            excused[job.name] |= self.stage.decisions.excused(job)
            excused[job.name] |= {*universe(job.space)} if job.is_manual else set()
        for row in await self.stage.rows(_UNFINISHED):
            job = self.stage.world.by_name[row["name"]]
            keys = keys_of(job, row["partitions"])
            what = f"{row['name']}[{row['block_key']}] {row['status']}"
            if row["status"] not in ("blocked", "failed") or not row["stuck"]:
                raise Broken("at rest there is nothing left to do", what)
            if row["waiting_for"] is not None:
                self.stage.counts["waiting for its inputs"] += 1
                if not recompute.task_waits(self.stage.world, job, keys, existing):
                    raise Broken("waiting, though all that it waits for is there", what)
            excused[job.name] |= {*universe(job.space)} if job.is_single_run else {*keys}
        return excused
