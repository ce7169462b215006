"""Workers: claim, read, complete or fail; freeze, crash, and return.

A run reads its inputs at a random time, and its output exists once the completion is accepted.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from functools import partial
from random import Random
from typing import Any
from uuid import UUID

import psycopg

from engine.errors import InvalidInput, LeaseLost
from engine.flow.execution.claim import Claimant, claim
from engine.flow.execution.complete import complete, complete_all
from engine.flow.execution.fail import fail
from engine.flow.execution.heartbeat import heartbeat
from engine.model.states import PauseKind
from engine.model.task import Completion, Lease
from tests.simulation import recompute
from tests.simulation.being import has_begun
from tests.simulation.chains import earlier
from tests.simulation.crashes import Crash, ResponseLost
from tests.simulation.invariants import Broken
from tests.simulation.ledger import ChangeScope
from tests.simulation.outputs import Outputs
from tests.simulation.reports import falsified
from tests.simulation.rows import Rows
from tests.simulation.runs import InputReader, Run, completion_of, keys_of, lease_text
from tests.simulation.state import SINGLE_RUN_KEY, SimulationState
from tests.simulation.world import GROUP, Job

_LEASED = """
SELECT FROM tasks
WHERE org_id = %(org)s AND id = %(id)s AND lease_token = %(token)s AND status = 'running'
"""


_UNFINISHED = """
SELECT t.partitions FROM tasks t JOIN jobs j ON j.id = t.job_id
WHERE t.org_id = %(org)s AND j.name = %(name)s
AND t.status IN ('blocked', 'queued', 'running', 'failed')
"""
_WAITING = """
SELECT FROM data_invalidations i JOIN datasets d ON d.id = i.dataset_uuid
WHERE i.org_id = %(org)s AND d.name = %(name)s
AND i.processed_at IS NULL AND i.after_partition IS NOT NULL
"""


class Workers:
    """Three workers and their current ``runs``."""

    def __init__(self, state: SimulationState, outputs: Outputs) -> None:
        self.state = state
        self.runs: list[Run] = []
        self.fails_permanently = False
        self._reader = InputReader(state)
        self._outputs = outputs

    async def claim(self, rng: Random) -> None:
        claimant, limit = Claimant(f"w{rng.randrange(3)}"), rng.choice([1, 2, 3, 5, 20])
        await self._claim(claimant, limit, rng)

    async def claim_calmly(self) -> bool:
        return await self._claim(Claimant("w0"), 5, None)

    async def _claim(self, claimant: Claimant, limit: int, rng: Random | None) -> bool:
        org = self.state.org_context(rng)
        try:
            leases = await self.state.do("claim", lambda c: claim(c, org, claimant, limit), rng)
        except ResponseLost as lost:
            for lease in lost.response:
                self._outputs.assume_written(lease)
            raise
        if leases:
            await self.state.record_planned_events()
        for lease in leases:
            self.state.log_line(f"{claimant.worker_id} claims {lease_text(lease)}", "runs")
            await self._start(lease)
        return bool(leases)

    async def _start(self, lease: Lease) -> None:
        world = self.state.world
        job = world.by_name[lease.job.name]
        if (PauseKind.JOB, job.name) in self.state.paused:
            raise Broken("tasks of paused jobs are not claimed", lease_text(lease))
        self.state.counts[f"{job.strategy} run"] += 1
        self.state.counts["SQL run"] += job.writes_atomically
        self.state.counts["retried attempt"] += lease.attempt > 1
        await self._check_in_being(lease, job)
        await self._check_order(lease, job)
        run = Run(lease, job, world, self.state.now, self._justified_changes(lease, job))
        await self._check_waited(run)
        self._check_cursor(run)
        self._outputs.assume_written(lease)
        self.runs.append(run)

    def _justified_changes(self, lease: Lease, job: Job) -> Mapping[str, ChangeScope]:
        """Return the justified changes of a run; raise Broken for an unjustified run (second law).

        Inputs must have declared changes since the last run, or an attempt since then may have
        written part of the output.
        """
        if not lease.partitions:
            # An unknown set of partitions may include new content, so any change is justified.
            return {output.name: (None, None) for output in job.outputs}
        keys = [SINGLE_RUN_KEY] if job.is_single_run else keys_of(job, lease.partitions)
        version = lease.outputs[0].version
        changes = self.state.ledger.justified_changes(self.state.world, job, version, keys)
        if changes is None and any((version, key) in self._outputs.attempted for key in keys):
            return {output.name: (None, None) for output in job.outputs}
        reads_all_rows = None in lease.row_filters
        if changes is None and reads_all_rows and self.state.decisions.leaves_rows_unread(job):
            return {output.name: (None, None) for output in job.outputs}
        if changes is None and job.is_single_run and self.state.moment is not None:
            known = self.state.warehouse[job.outputs[0].name, version].keys()
            if not {*keys_of(job, lease.partitions)} <= known:
                return {output.name: (None, None) for output in job.outputs}
        if changes is None:
            raise Broken("minimal: no change justifies a run", lease_text(lease))
        return changes

    async def _check_in_being(self, lease: Lease, job: Job) -> None:
        if self.state.moment is None:
            return
        await self.state.record_possible()
        to_come = {*keys_of(job, lease.partitions)} - self.state.possible[job.outputs[0].name]
        if to_come:
            details = f"{lease_text(lease)} at {self.state.moment}: {sorted(to_come)}"
            raise Broken("minimal: a partition is built before it comes into being", details)

    async def _check_order(self, lease: Lease, job: Job) -> None:
        """Check that no partition that a run reads of its own output is still to be built.

        Further attempts do not wait for a task planned after the first one.
        """
        if job.own_read is None:
            return
        self.state.counts["run that reads its own output"] += 1
        unfinished = {
            key
            for row in await self.state.rows(_UNFINISHED, name=job.name)
            for key in keys_of(job, row["partitions"])
        }
        (key,) = keys_of(job, lease.partitions)
        self.state.counts["partitions of a chain wait"] += bool(
            await self.state.rows(_WAITING, name=job.outputs[0].name)
        )
        first = earlier(job, key) & unfinished
        if first and lease.attempt == 1:
            details = f"{lease_text(lease)} before {sorted(first)}"
            raise Broken("a partition runs before an earlier one that it reads", details)

    async def _check_waited(self, run: Run) -> None:
        # An own partition may become expected while the task of a later one is queued.
        job = replace(run.job, reads=run.job.upstream_reads)
        if all(read.wait_for == "any" for read in job.reads):
            return
        existing = await self.state.existing()
        keys = keys_of(run.job, run.lease.partitions)
        if not keys and self._has_run(run):
            return  # the first run found nothing
        # Further inputs may have come into being since the task was queued.
        begun = partial(has_begun, moment=self.state.first_moment)
        if recompute.task_waits(self.state.world, job, keys, existing, begun):
            raise Broken("a first run does not wait for its inputs", lease_text(run.lease))

    def _has_run(self, run: Run) -> bool:
        version = run.lease.outputs[0].version
        return (version, SINGLE_RUN_KEY) in self.state.ledger.last_runs

    def _check_cursor(self, run: Run) -> None:
        """Check that no cursor is ahead of the rows read by runs of the same output version."""
        read = self._outputs.newest_read.get(run.lease.outputs[0].version)
        for cursor in run.lease.cursors.values() if run.job.follows else ():
            if read is None or int(cursor) > read:
                details = f"{lease_text(run.lease)} from {cursor}, read up to {read}"
                raise Broken("a cursor is ahead of all rows read", details)

    async def read(self, rng: Random) -> None:
        if self.runs:
            await self._reader.content(rng.choice(self.runs))

    async def finish(self, rng: Random) -> None:
        count = rng.choice([1, 1, 2, 5])
        if rng.random() < 0.5:
            await self._end_together(count, rng)
            return
        for _ in range(count):
            if self.runs:
                await self._end(rng.choice(self.runs), rng)

    async def finish_calmly(self, rng: Random) -> bool:
        found = bool(self.runs)
        while self.runs:
            await self._end(rng.choice(self.runs), None)
        return found

    async def _end(self, run: Run, rng: Random | None) -> None:
        content = await self._reader.content(run)
        completion = completion_of(run, content)
        self.state.log_line(f"{run.lease.worker_id} finishes {lease_text(run.lease)}")
        if rng is not None and Random(f"false {self.state.now}").random() < 0.1:
            await self._misreport(run.job, completion)
        self.runs.remove(run)
        org = self.state.org_context(rng)
        try:
            await self.state.do("finish", lambda conn: complete(conn, org, completion), rng)
        except LeaseLost:
            await self._check_lost(run)
        except ResponseLost:
            self._outputs.accept(run, content)
            self.runs.append(run)  # sent again later, and rejected
            raise
        except (Crash, psycopg.errors.LockNotAvailable):
            self.runs.append(run)
            raise
        else:
            self._outputs.accept(run, content)

    async def _end_together(self, count: int, rng: Random) -> None:
        """Complete runs of different tasks in one transaction; the lost ones fail alone."""
        by_task = {run.lease.task_id: run for run in rng.sample(self.runs, len(self.runs))}
        runs = list(by_task.values())[:count]
        if not runs:
            return
        contents = [await self._reader.content(run) for run in runs]
        completions = [completion_of(*each) for each in zip(runs, contents, strict=True)]
        self.state.log_line(f"finish together {', '.join(lease_text(run.lease) for run in runs)}")
        org = self.state.org_context(rng)
        try:
            completed = await self.state.do(
                "finish", lambda conn: complete_all(conn, org, completions), rng
            )
        except ResponseLost as lost:
            self._accept_completed(runs, contents, lost.response)
            raise
        self.runs = [run for run in self.runs if run not in runs]
        self._accept_completed(runs, contents, completed)
        self.state.counts["runs completed together"] += len(completed) > 1
        for run in runs:
            if run.lease.task_id not in completed:
                await self._check_lost(run)

    async def _check_lost(self, run: Run) -> None:
        """Check that a lease whose completion was rejected is lost."""
        self.state.log_line("… lease lost", "completion with a lost lease")
        if await self.state.rows(_LEASED, id=run.lease.task_id, token=run.lease.token):
            raise Broken("a valid lease was rejected", lease_text(run.lease))

    def _accept_completed(
        self, runs: Sequence[Run], contents: Sequence[Any], completed: Collection[UUID]
    ) -> None:
        for run, content in zip(runs, contents, strict=True):
            if run.lease.task_id in completed:
                self._outputs.accept(run, content)

    async def _misreport(self, job: Job, completion: Completion) -> None:
        """Report an output not produced by the task, and check that the report is rejected."""
        org, false = self.state.org_context(), falsified(job, completion, self.state.now)
        try:
            await self.state.do("misreport", lambda conn: complete(conn, org, false))
        except LeaseLost:
            return
        except InvalidInput as error:
            self.state.log_line(f"… refused: {error}", "false report refused")
            return
        raise Broken("a false report was accepted", lease_text(completion.lease))

    async def fail(self, rng: Random) -> None:
        if self.runs:
            run = self.runs.pop(rng.randrange(len(self.runs)))
            self.state.log_line(f"fail {lease_text(run.lease)}", "failed attempt")
            org, retryable = self.state.org_context(rng), rng.random() >= 0.3
            retryable &= not self.fails_permanently
            try:
                await self.state.do(
                    "fail",
                    lambda c: fail(c, org, run.lease, "it failed", retryable=retryable),
                    rng,
                )
            except LeaseLost:
                self.state.log_line("… lease lost")

    async def give_up(self, rng: Random) -> None:
        """Fail an attempt without further retries."""
        self.fails_permanently = True
        try:
            await self.fail(rng)
        finally:
            self.fails_permanently = False

    async def spill(self, rng: Random) -> None:
        """Crash or fail while writing, leaving arbitrary rows behind.

        An attempt that upserts rows writes only those computed from the rows of its lease.
        """
        if not self.runs:
            return
        run = rng.choice(self.runs)
        if run.job.writes_atomically:
            return
        if not await self.state.rows(_LEASED, id=run.lease.task_id, token=run.lease.token):
            return
        await self._write_half(run, rng)
        self.state.log_line(
            f"{run.lease.worker_id} writes part of {lease_text(run.lease)}", "partial write"
        )
        self.runs.remove(run)
        if rng.random() < 0.5:
            self.runs.append(run)
            await self.fail(rng)

    async def _write_half(self, run: Run, rng: Random) -> None:
        if run.job.append:
            await self._reader.content(run)
        for dataset in run.lease.outputs:
            stored = self.state.warehouse[dataset.name, dataset.version]
            computed = run.computed[dataset.name] if run.job.append else stored
            for key in sorted({*keys_of(run.job, run.lease.partitions)} & stored.keys()):
                if rng.random() < 0.7:
                    stored[key] = stored[key] | _half_written(rng, run.job, computed.get(key, {}))
                    self.state.edited[dataset.name].add(key)
                    self.state.partial_writes[dataset.name].add(key)

    async def vanish(self, rng: Random) -> None:
        """Crash without reporting."""
        if self.runs:
            run = self.runs.pop(rng.randrange(len(self.runs)))
            self.state.log_line(
                f"{run.lease.worker_id} crashes in {lease_text(run.lease)}", "worker crashed"
            )

    async def heartbeat(self, rng: Random) -> None:
        """Send a heartbeat, and stop the run if its lease is lost."""
        if self.runs:
            run = rng.choice(self.runs)
            alive = await self.state.do("heartbeat", lambda c: heartbeat(c, [run.lease], 30), rng)
            if not alive and run in self.runs:
                line = f"{run.lease.worker_id} stops {lease_text(run.lease)}: lease lost"
                self.state.log_line(line, "heartbeat with a lost lease")
                self.runs.remove(run)


def _half_written(rng: Random, job: Job, rows: Rows) -> Rows:
    return {
        n: {c: v if c == GROUP else rng.randrange(job.modulus) for c, v in row.items()}
        for n, row in rows.items()
    }
