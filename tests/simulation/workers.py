"""Workers: claim, read, complete or fail; freeze, crash, and return.

A run reads its inputs at a random time, and its output exists once the completion is accepted.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from random import Random
from uuid import UUID

import psycopg

from engine.errors import InvalidInput, LeaseLost
from engine.flow.execution.claim import Claimant, claim
from engine.flow.execution.complete import complete
from engine.flow.execution.fail import fail
from engine.flow.execution.heartbeat import heartbeat
from engine.model.task import Completion, Lease
from tests.simulation import recompute
from tests.simulation.crashes import Crash, ResponseLost
from tests.simulation.dimensions import Key, read_text
from tests.simulation.invariants import Broken
from tests.simulation.ledger import Changed, ChangeScope, Declared
from tests.simulation.reports import Content, Gaps, ReportDetail, falsified, reported
from tests.simulation.rows import (
    Partitions,
    Rows,
    differing,
    groups_differing,
    is_selected,
    may_hold,
)
from tests.simulation.state import SINGLE_RUN_KEY, SimulationState
from tests.simulation.world import GROUP, Columns, Job, Output, Values, World

_LEASED = """
SELECT FROM tasks
WHERE org_id = %(org)s AND id = %(id)s AND lease_token = %(token)s AND status = 'running'
"""


@dataclass(eq=False)
class Run:
    """A lease held by a worker; ``content`` is the output, computed after reading."""

    lease: Lease
    job: Job
    world: World
    started: int
    changes: Mapping[str, ChangeScope]
    content: Content | None = None
    newest: int | None = None
    built_from_edits: set[Key] = field(default_factory=set)
    """Partitions built from edited rows that were invalidated, but not reported as rewritten.

    Rebuilding the input restores the content recorded by the engine, so the engine finds no change.
    """
    gaps: Gaps = field(default_factory=Gaps)


class Workers:
    """Three workers and their current ``runs``."""

    def __init__(self, state: SimulationState) -> None:
        self.state = state
        self.runs: list[Run] = []
        self.fails_permanently = False
        self._attempted: set[tuple[UUID, Key]] = set()
        """Partitions of output versions with an attempt not yet followed by a completed run."""
        self._without_columns: set[tuple[str, Key]] = set()
        """Partitions whose last run did not report fingerprints of all columns."""
        self._newest_read: dict[UUID, int] = {}
        """Newest row reported by runs, by output version of jobs following rows."""

    # -- claim ---------------------------------------------------------------------------------

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
                self._assume_written(lease)
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
        self.state.counts[f"{job.strategy} run"] += 1
        self.state.counts["SQL run"] += job.writes_atomically
        self.state.counts["retried attempt"] += lease.attempt > 1
        run = Run(lease, job, world, self.state.now, self._justified_changes(lease, job))
        await self._check_waited(run)
        self._check_cursor(run)
        self._assume_written(lease)
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
        if changes is None and any((version, key) in self._attempted for key in keys):
            return {output.name: (None, None) for output in job.outputs}
        if changes is None:
            raise Broken("minimal: no change justifies a run", lease_text(lease))
        return changes

    async def _check_waited(self, run: Run) -> None:
        if all(read.wait_for == "any" for read in run.job.reads):
            return
        existing = await self.state.existing()
        keys = keys_of(run.job, run.lease.partitions)
        if recompute.task_waits(self.state.world, run.job, keys, existing):
            raise Broken("a first run does not wait for its inputs", lease_text(run.lease))

    def is_partly_written(self, version: UUID, key: Key) -> bool:
        """Return whether a built partition has had an attempt not followed by a completed run."""
        subject = version, key
        return subject in self._attempted and subject in self.state.ledger.last_runs

    def _assume_written(self, lease: Lease) -> None:
        """Treat the partitions of an incomplete attempt as having unknown content."""
        job, version = self.state.world.by_name[lease.job.name], lease.outputs[0].version
        keys = [SINGLE_RUN_KEY] if job.is_single_run else keys_of(job, lease.partitions)
        for key in () if job.writes_atomically else keys:
            if (version, key) in self._attempted:
                for dataset in lease.outputs:
                    stored = self.state.warehouse[dataset.name, dataset.version]
                    self.state.edited[dataset.name] |= {*stored} if key == SINGLE_RUN_KEY else {key}
            self._attempted.add((version, key))

    def _check_cursor(self, run: Run) -> None:
        """Check that no cursor is ahead of the rows read by runs of the same output version."""
        read = self._newest_read.get(run.lease.outputs[0].version)
        for cursor in run.lease.cursors.values() if run.job.follows else ():
            if read is None or int(cursor) > read:
                details = f"{lease_text(run.lease)} from {cursor}, read up to {read}"
                raise Broken("a cursor is ahead of all rows read", details)

    # -- read ----------------------------------------------------------------------------------

    async def read(self, rng: Random) -> None:
        if self.runs:
            await self._content(rng.choice(self.runs))

    async def _content(self, run: Run) -> Content:
        """Read once, at any time; later calls return the same content."""
        if not self.state.world.producers.keys() >= {read.dataset for read in run.job.reads}:
            self.state.log_line(f"inputs of {lease_text(run.lease)} were removed by a deploy")
            return defaultdict(dict)
        if run.content is None:
            self.state.log_line(f"read inputs of {lease_text(run.lease)}")
            existing = await self.state.existing()
            data = self._followed(run) if run.job.follows else {}
            keys = set(keys_of(run.job, run.lease.partitions))
            if run.job.follows and run.job.space:
                keys |= {(row[GROUP],) for rows in data.values() for row in rows.values()}
            run.content = defaultdict(dict)
            for key in sorted(keys):
                self._make(run, key, data, existing)
                if recompute.reads_any(run.world, run.job, key, existing, self.state.unannounced):
                    run.built_from_edits.add(key)
            if self.state.has_report_gaps:
                run.gaps = Gaps.drawn(Random(f"gaps {self.state.now}"), run.job, run.content)
        return run.content

    def _make(self, run: Run, key: Key, data: Partitions, existing: dict[str, set[Key]]) -> None:
        followed = run.job.reads[0].dataset if run.job.follows else None
        computed = recompute.make(
            run.world,
            run.job,
            key,
            lambda dataset: data if dataset == followed else self.state.data(dataset),
            existing.__getitem__,
        )
        for dataset in run.lease.outputs:
            before = self.state.warehouse[dataset.name, dataset.version].get(key, {})
            rows = computed[dataset.name]
            run.content[dataset.name][key] = {**before, **rows} if run.job.append else rows

    def _followed(self, run: Run) -> Partitions:
        """Return the rows named by a lease: newer than the cursor, matching filters, or all."""
        read = run.job.reads[0]
        source = run.world.producers[read.dataset]
        (followed,) = (i for i in run.lease.job.inputs if i.cursor is not None)
        cursor = int(run.lease.cursors.get(followed.dataset, 0))
        data = self.state.data(read.dataset)
        filters = run.lease.row_filters
        self._count_filters(run.lease)

        def is_read(key: Key, n: int, row: dict[str, object]) -> bool:
            return any(
                spec is None
                or (not spec and n > cursor)
                or (spec and may_hold(source.space, key, spec) and is_selected(spec, n, row))
                for spec in filters
            )

        read_now = {
            key: {n: row for n, row in rows.items() if is_read(key, n, row)}
            for key, rows in data.items()
        }
        if not all(filters):
            run.newest = max(_ids(data), default=None)
        elif None not in filters:
            # A run over old rows also reports a cursor, which must not move the stored one.
            run.newest = min((n for n in _ids(read_now) if n <= cursor), default=None)
        return read_now

    def _count_filters(self, lease: Lease) -> None:
        for spec in lease.row_filters:
            label = "filtered rows reread" if spec else "new rows read"
            self.state.counts["all rows reread" if spec is None else label] += 1

    # -- finish --------------------------------------------------------------------------------

    async def finish(self, rng: Random) -> None:
        for _ in range(rng.choice([1, 1, 2, 5])):
            if self.runs:
                await self._end(rng.choice(self.runs), rng)

    async def finish_calmly(self, rng: Random) -> bool:
        found = bool(self.runs)
        while self.runs:
            await self._end(rng.choice(self.runs), None)
        return found

    async def _end(self, run: Run, rng: Random | None) -> None:
        content = await self._content(run)
        completion = _completion(run, content)
        self.state.log_line(f"{run.lease.worker_id} finishes {lease_text(run.lease)}")
        if rng is not None and Random(f"false {self.state.now}").random() < 0.1:
            await self._misreport(run.job, completion)
        self.runs.remove(run)
        org = self.state.org_context(rng)
        try:
            await self.state.do("finish", lambda conn: complete(conn, org, completion), rng)
        except LeaseLost:
            self.state.log_line("… lease lost", "completion with a lost lease")
            if await self.state.rows(_LEASED, id=run.lease.task_id, token=run.lease.token):
                raise Broken("a valid lease was rejected", lease_text(run.lease)) from None
        except ResponseLost:
            self._accepted(run, content)
            self.runs.append(run)  # sent again later, and rejected
            raise
        except (Crash, psycopg.errors.LockNotAvailable):
            self.runs.append(run)
            raise
        else:
            self._accepted(run, content)

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

    def _accepted(self, run: Run, content: Content) -> None:
        """Store the output of an accepted run, and record its changes."""
        ledger, now = self.state.ledger, self.state.now
        versions = {dataset.name: dataset.version for dataset in run.lease.outputs}
        for output in run.job.outputs:
            stored = self.state.warehouse[output.name, versions[output.name]]
            computed = content[output.name]
            for changed in self._changes(run, output, stored, computed):
                ledger.record_changed(output, changed)
            self._record_gaps(run, output, computed)
            has_emptied = any(stored.get(key) and not rows for key, rows in computed.items())
            self.state.counts["partition emptied by a Full run"] += (
                run.job.may_be_empty and has_emptied
            )
            stored.update(computed)
            self.state.decisions.unverified[output.name] -= {*computed}
            self.state.partial_writes[output.name] -= {*computed}
            self.state.unannounced[output.name] -= {*computed}
            self.state.unannounced[output.name] |= self._unattributed(run, output, computed)
            for key in computed if output.name in run.changes else ():
                declared = Declared(now, key, *run.changes[output.name], is_of_run=True)
                ledger.declare(self.state.world, output, declared)
        self.state.counts["tasks"] += 1
        version = run.lease.outputs[0].version
        if run.newest is not None:
            self._newest_read[version] = max(run.newest, self._newest_read.get(version, run.newest))
        keys = [SINGLE_RUN_KEY] if run.job.is_single_run else [*content[run.job.outputs[0].name]]
        self._attempted -= {(version, key) for key in keys}
        ledger.last_runs.update(dict.fromkeys(((version, key) for key in keys), run.started))
        if not run.job.follows or None in run.lease.row_filters:
            self.state.decisions.run_completed(run.job, keys, run.started)
        if run.built_from_edits:
            self.state.decisions.built_from_edits(run.job, run.built_from_edits, now)

    def _unattributed(self, run: Run, output: Output, computed: Partitions) -> set[Key]:
        """Return partitions built from edited rows whose changed columns are not reported.

        A change of the whole fingerprint is attributed to the propagated columns, which do not
        include the edit.
        """
        if not run.built_from_edits:
            return set()
        return {
            key
            for key in computed
            if (run.job.is_single_run or key in run.built_from_edits)
            and self._compared_detail(run, (output.name, key)) is not ReportDetail.COLUMNS
        }

    def _record_gaps(self, run: Run, output: Output, computed: Partitions) -> None:
        """Record partitions the next run cannot be compared with, in full or by column."""
        for key in computed:
            partition = output.name, key
            if run.gaps.is_incomparable(partition):
                self.state.edited[output.name].add(key)
            self._without_columns.discard(partition)
            if run.gaps.detail(run.job, partition) is not ReportDetail.COLUMNS:
                self._without_columns.add(partition)
            self.state.counts["partition not reported"] += partition in run.gaps.omitted
            self.state.counts["some columns reported"] += partition in run.gaps.partial

    def _changes(
        self, run: Run, output: Output, stored: Partitions, computed: Partitions
    ) -> Iterator[Changed]:
        """Yield the changes visible to the engine, by partition, and by column if reported."""
        for key, rows in computed.items():
            detail = self._compared_detail(run, (output.name, key))
            columns = self._differing(detail, output, key, stored.get(key), rows)
            is_same = columns is not None and not columns
            if is_same and detail is not ReportDetail.NOTHING:
                self.state.counts["partition unchanged"] += 1
                continue
            groups = self._groups_differing(detail, output, key, stored.get(key), rows)
            if detail is ReportDetail.COLUMNS:
                self.state.counts["partition changed in some columns"] += columns is not None
                yield Changed(self.state.now, key, columns, groups)
            else:
                self.state.counts["partition changed"] += 1
                yield Changed(self.state.now, key, None, groups)

    def _compared_detail(self, run: Run, partition: tuple[str, Key]) -> ReportDetail:
        """Return the detail of a comparison: by column only if both runs report all columns."""
        detail = run.gaps.detail(run.job, partition)
        is_coarse = detail is ReportDetail.COLUMNS and partition in self._without_columns
        return ReportDetail.WHOLE if is_coarse else detail

    def _differing(
        self, detail: ReportDetail, output: Output, key: Key, before: Rows | None, after: Rows
    ) -> Columns:
        """Return the changed columns; None: all, possibly including rows.

        A partition rewritten by hand has no base for comparison, and a whole fingerprint does not
        attribute differences left by an operator's decision.
        """
        if key in self.state.decisions.unverified[output.name] and detail is ReportDetail.WHOLE:
            self.state.edited[output.name].add(key)
        incomparable = self.state.ledger.rewritten[output.name], self.state.edited[output.name]
        if any(key in keys for keys in incomparable):
            for keys in incomparable:
                keys.discard(key)
            return None
        columns = differing(before, after)
        return None if columns == {*output.columns} else columns

    def _groups_differing(
        self, detail: ReportDetail, output: Output, key: Key, before: Rows | None, after: Rows
    ) -> Values:
        """Return the groups of changed rows to which the engine must limit downstream runs."""
        is_unverified = key in self.state.decisions.unverified[output.name]
        if is_unverified or detail is ReportDetail.NOTHING:
            return None
        return groups_differing(before, after)

    # -- failures ------------------------------------------------------------------------------

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
        """Crash or fail while writing, leaving arbitrary rows behind."""
        if not self.runs:
            return
        run = rng.choice(self.runs)
        if run.job.writes_atomically:
            return
        if not await self.state.rows(_LEASED, id=run.lease.task_id, token=run.lease.token):
            return
        for dataset in run.lease.outputs:
            stored = self.state.warehouse[dataset.name, dataset.version]
            for key in sorted({*keys_of(run.job, run.lease.partitions)} & stored.keys()):
                if rng.random() < 0.7:
                    stored[key] = _half_written(rng, run.job, stored[key])
                    self.state.edited[dataset.name].add(key)
                    self.state.partial_writes[dataset.name].add(key)
        self.state.log_line(
            f"{run.lease.worker_id} writes part of {lease_text(run.lease)}", "partial write"
        )
        self.runs.remove(run)
        if rng.random() < 0.5:
            self.runs.append(run)
            await self.fail(rng)

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


def keys_of(job: Job, texts: Sequence[str]) -> list[Key]:
    """Return the keys named by texts."""
    return [key for text in texts for key in sorted(read_text(job.space, text))]


def lease_text(lease: Lease) -> str:
    """Return a lease as a short text."""
    return f"{lease.job.name}[{','.join(lease.partitions)}]"


def _ids(partitions: Partitions) -> Iterator[int]:
    return (n for rows in partitions.values() for n in rows)


def _completion(run: Run, content: Content) -> Completion:
    cursors: dict[UUID, str] = {}
    if run.newest is not None:
        (followed,) = (i for i in run.lease.job.inputs if i.cursor is not None)
        cursors[followed.dataset] = str(run.newest)
    return Completion(run.lease, reported(run.job, content, run.gaps), cursors)
