"""Workers: claim, read, complete or fail; freeze, die, and return.

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
from tests.simulation.crashes import AnswerLost, Crash
from tests.simulation.dimensions import Key, read_text
from tests.simulation.invariants import Broken
from tests.simulation.ledger import Changed, Declared, Dirt
from tests.simulation.reports import Content, Gaps, ReportDetail, falsified, reported
from tests.simulation.rows import (
    Partitions,
    Rows,
    differing,
    groups_differing,
    is_selected,
    may_hold,
)
from tests.simulation.stage import SINGLE_RUN_KEY, Stage
from tests.simulation.world import GROUP, Columns, Job, Output, Values, World

_HELD = """
SELECT FROM tasks
WHERE org_id = %(org)s AND id = %(id)s AND lease_token = %(token)s AND status = 'running'
"""


@dataclass(eq=False)
class Run:
    """A lease held by a worker; ``content`` is the output, computed after reading."""

    lease: Lease
    job: Job
    world: World
    at: int
    dirt: Mapping[str, Dirt]
    content: Content | None = None
    newest: int | None = None
    misled: set[Key] = field(default_factory=set)
    """Partitions built from edited rows that were invalidated, but not reported as rewritten.

    Rebuilding the input restores the content recorded by the engine, so the engine finds no change.
    """
    gaps: Gaps = field(default_factory=Gaps)


class Workers:
    """Three workers and their current ``runs``."""

    def __init__(self, stage: Stage) -> None:
        self.stage = stage
        self.runs: list[Run] = []
        self.is_hopeless = False
        self._attempted: set[tuple[UUID, Key]] = set()
        """Partitions of output versions with an attempt not yet followed by a completed run."""
        self._without_columns: set[tuple[str, Key]] = set()
        """Partitions whose last run did not report fingerprints of all columns."""
        self._read_up_to: dict[UUID, int] = {}
        """Newest row reported by runs, by output version of jobs following rows."""

    # -- claim ---------------------------------------------------------------------------------

    async def claim(self, dice: Random) -> None:
        claimant, limit = Claimant(f"w{dice.randrange(3)}"), dice.choice([1, 2, 3, 5, 20])
        await self._claim(claimant, limit, dice)

    async def claim_calmly(self) -> bool:
        return await self._claim(Claimant("w0"), 5, None)

    async def _claim(self, claimant: Claimant, limit: int, dice: Random | None) -> bool:
        org = self.stage.org_context(dice)
        try:
            leases = await self.stage.do("claim", lambda c: claim(c, org, claimant, limit), dice)
        except AnswerLost as lost:
            for lease in lost.answer:
                self._assume_written(lease)
            raise
        if leases:
            await self.stage.note_invalidations()
        for lease in leases:
            self.stage.log_line(f"{claimant.worker_id} claims {lease_text(lease)}", "runs")
            await self._begin(lease)
        return bool(leases)

    async def _begin(self, lease: Lease) -> None:
        world = self.stage.world
        job = world.by_name[lease.job.name]
        self.stage.counts[f"{job.strategy} run"] += 1
        self.stage.counts["SQL run"] += job.writes_with_its_completion
        self.stage.counts["retry"] += lease.attempt > 1
        run = Run(lease, job, world, self.stage.now, self._justified_dirt(lease, job))
        await self._check_waited(run)
        self._check_cursor(run)
        self._assume_written(lease)
        self.runs.append(run)

    def _justified_dirt(self, lease: Lease, job: Job) -> Mapping[str, Dirt]:
        """Return the justified changes of a run; raise Broken for an unjustified run (second law).

        Inputs must have declared changes since the last run, or an attempt since then may have
        written part of the output.
        """
        if not lease.partitions:
            # An unknown set of partitions may include new content, so any change is justified.
            return {output.name: (None, None) for output in job.outputs}
        keys = [SINGLE_RUN_KEY] if job.is_single_run else keys_of(job, lease.partitions)
        version = lease.outputs[0].version
        dirt = self.stage.ledger.dirt(self.stage.world, job, version, keys)
        if dirt is None and any((version, key) in self._attempted for key in keys):
            return {output.name: (None, None) for output in job.outputs}
        if dirt is None:
            raise Broken("minimal: a run that nothing called for", lease_text(lease))
        return dirt

    async def _check_waited(self, run: Run) -> None:
        if all(read.wait_for == "any" for read in run.job.reads):
            return
        existing = await self.stage.existing()
        keys = keys_of(run.job, run.lease.partitions)
        if recompute.task_waits(self.stage.world, run.job, keys, existing):
            raise Broken(
                "a first run that should have waited for its inputs", lease_text(run.lease)
            )

    def is_partly_written(self, version: UUID, key: Key) -> bool:
        """Return whether a built partition has had an attempt not followed by a completed run."""
        subject = version, key
        return subject in self._attempted and subject in self.stage.ledger.last_runs

    def _assume_written(self, lease: Lease) -> None:
        """Treat the partitions of an incomplete attempt as having unknown content."""
        job, version = self.stage.world.by_name[lease.job.name], lease.outputs[0].version
        keys = [SINGLE_RUN_KEY] if job.is_single_run else keys_of(job, lease.partitions)
        for key in () if job.writes_with_its_completion else keys:
            if (version, key) in self._attempted:
                for dataset in lease.outputs:
                    stored = self.stage.warehouse[dataset.name, dataset.version]
                    self.stage.edited[dataset.name] |= {*stored} if key == SINGLE_RUN_KEY else {key}
            self._attempted.add((version, key))

    def _check_cursor(self, run: Run) -> None:
        """Check that no cursor is ahead of the rows read by runs of the same output version."""
        read = self._read_up_to.get(run.lease.outputs[0].version)
        for cursor in run.lease.cursors.values() if run.job.follows else ():
            if read is None or int(cursor) > read:
                what = f"{lease_text(run.lease)} from {cursor}, read up to {read}"
                raise Broken("a cursor further than anything that was read", what)

    # -- read ----------------------------------------------------------------------------------

    async def read(self, dice: Random) -> None:
        if self.runs:
            await self._content(dice.choice(self.runs))

    async def _content(self, run: Run) -> Content:
        """Read once, at any time; later calls return the same content."""
        if not self.stage.world.makers.keys() >= {read.dataset for read in run.job.reads}:
            self.stage.log_line(f"a deploy has taken away what {lease_text(run.lease)} reads")
            return defaultdict(dict)
        if run.content is None:
            self.stage.log_line(f"read for {lease_text(run.lease)}")
            existing = await self.stage.existing()
            data = self._followed(run) if run.job.follows else {}
            keys = set(keys_of(run.job, run.lease.partitions))
            if run.job.follows and run.job.space:
                keys |= {(row[GROUP],) for rows in data.values() for row in rows.values()}
            run.content = defaultdict(dict)
            for key in sorted(keys):
                self._make(run, key, data, existing)
                if recompute.reads_any(run.world, run.job, key, existing, self.stage.unannounced):
                    run.misled.add(key)
            if self.stage.is_terse:
                run.gaps = Gaps.drawn(Random(f"gaps {self.stage.now}"), run.job, run.content)
        return run.content

    def _make(self, run: Run, key: Key, data: Partitions, existing: dict[str, set[Key]]) -> None:
        followed = run.job.reads[0].dataset if run.job.follows else None
        computed = recompute.make(
            run.world,
            run.job,
            key,
            lambda each: data if each == followed else self.stage.data(each),
            existing.__getitem__,
        )
        for dataset in run.lease.outputs:
            before = self.stage.warehouse[dataset.name, dataset.version].get(key, {})
            rows = computed[dataset.name]
            run.content[dataset.name][key] = {**before, **rows} if run.job.append else rows

    def _followed(self, run: Run) -> Partitions:
        """Return the rows named by a lease: newer than the cursor, matching filters, or all."""
        read = run.job.reads[0]
        source = run.world.makers[read.dataset]
        (followed,) = (each for each in run.lease.job.inputs if each.cursor is not None)
        cursor = int(run.lease.cursors.get(followed.dataset, 0))
        data = self.stage.data(read.dataset)
        filters = run.lease.row_filters
        self._count_filters(run.lease)

        def is_read(key: Key, n: int, row: dict[str, object]) -> bool:
            return any(
                each is None
                or (not each and n > cursor)
                or (each and may_hold(source.space, key, each) and is_selected(each, n, row))
                for each in filters
            )

        read_now = {
            key: {n: row for n, row in rows.items() if is_read(key, n, row)}
            for key, rows in data.items()
        }
        if any(not each for each in filters):
            run.newest = max(_ids(data), default=None)
        elif None not in filters:
            # A run over old rows also reports a cursor, which must not move the stored one.
            run.newest = min((n for n in _ids(read_now) if n <= cursor), default=None)
        return read_now

    def _count_filters(self, lease: Lease) -> None:
        for each in lease.row_filters:
            what = "filtered rows read again" if each else "new rows followed"
            self.stage.counts["all rows read again" if each is None else what] += 1

    # -- finish --------------------------------------------------------------------------------

    async def finish(self, dice: Random) -> None:
        for _ in range(dice.choice([1, 1, 2, 5])):
            if self.runs:
                await self._end(dice.choice(self.runs), dice)

    async def finish_calmly(self, dice: Random) -> bool:
        had = bool(self.runs)
        while self.runs:
            await self._end(dice.choice(self.runs), None)
        return had

    async def _end(self, run: Run, dice: Random | None) -> None:
        content = await self._content(run)
        completion = _completion(run, content)
        self.stage.log_line(f"{run.lease.worker_id} finishes {lease_text(run.lease)}")
        if dice is not None and Random(f"false {self.stage.now}").random() < 0.1:
            await self._misreport(run.job, completion)
        self.runs.remove(run)
        org = self.stage.org_context(dice)
        try:
            await self.stage.do("finish", lambda conn: complete(conn, org, completion), dice)
        except LeaseLost:
            self.stage.log_line("… lease lost", "frozen worker came back too late")
            if await self.stage.rows(_HELD, id=run.lease.task_id, token=run.lease.token):
                raise Broken("a good lease was refused", lease_text(run.lease)) from None
        except AnswerLost:
            self._accepted(run, content)
            self.runs.append(run)  # sent again later, and refused
            raise
        except (Crash, psycopg.errors.LockNotAvailable):
            self.runs.append(run)
            raise
        else:
            self._accepted(run, content)

    async def _misreport(self, job: Job, completion: Completion) -> None:
        """Report an output not produced by the task, and check for refusal of the report."""
        org, false = self.stage.org_context(), falsified(job, completion, self.stage.now)
        try:
            await self.stage.do("misreport", lambda conn: complete(conn, org, false))
        except LeaseLost:
            return
        except InvalidInput as error:
            self.stage.log_line(f"… refused: {error}", "false report refused")
            return
        raise Broken("a false report was accepted", lease_text(completion.lease))

    def _accepted(self, run: Run, content: Content) -> None:
        """Store the output of an accepted run, and record its changes."""
        ledger, now = self.stage.ledger, self.stage.now
        versions = {dataset.name: dataset.version for dataset in run.lease.outputs}
        for output in run.job.outputs:
            stored = self.stage.warehouse[output.name, versions[output.name]]
            computed = content[output.name]
            for changed in self._changes(run, output, stored, computed):
                ledger.note_changed(output, changed)
            self._note_gaps(run, output, computed)
            is_less = any(stored.get(key) and not rows for key, rows in computed.items())
            self.stage.counts["Full run that found less"] += run.job.finds_less and is_less
            stored.update(computed)
            self.stage.decisions.unverified[output.name] -= {*computed}
            self.stage.spilled[output.name] -= {*computed}
            self.stage.unannounced[output.name] -= {*computed}
            self.stage.unannounced[output.name] |= self._unattributed(run, output, computed)
            for key in computed if output.name in run.dirt else ():
                declared = Declared(now, key, *run.dirt[output.name], is_of_run=True)
                ledger.declare(self.stage.world, output, declared)
        self.stage.counts["tasks"] += 1
        version = run.lease.outputs[0].version
        if run.newest is not None:
            self._read_up_to[version] = max(run.newest, self._read_up_to.get(version, run.newest))
        keys = [SINGLE_RUN_KEY] if run.job.is_single_run else [*content[run.job.outputs[0].name]]
        self._attempted -= {(version, key) for key in keys}
        ledger.last_runs.update(dict.fromkeys(((version, key) for key in keys), run.at))
        if not run.job.follows or None in run.lease.row_filters:
            self.stage.decisions.run_completed(run.job, keys, run.at)
        if run.misled:
            self.stage.decisions.misled(run.job, run.misled, now)

    def _unattributed(self, run: Run, output: Output, computed: Partitions) -> set[Key]:
        """Return partitions built from edited rows whose changed columns are not reported.

        A change of the whole fingerprint is attributed to the propagated columns, which do not
        include the edit.
        """
        if not run.misled:
            return set()
        return {
            key
            for key in computed
            if (run.job.is_single_run or key in run.misled)
            and self._compared_detail(run, (output.name, key)) is not ReportDetail.COLUMNS
        }

    def _note_gaps(self, run: Run, output: Output, computed: Partitions) -> None:
        """Record partitions the next run cannot be compared with, in full or by column."""
        for key in computed:
            partition = output.name, key
            if run.gaps.is_incomparable(partition):
                self.stage.edited[output.name].add(key)
            self._without_columns.discard(partition)
            if run.gaps.detail(run.job, partition) is not ReportDetail.COLUMNS:
                self._without_columns.add(partition)
            self.stage.counts["partition not reported"] += partition in run.gaps.omitted
            self.stage.counts["some columns reported"] += partition in run.gaps.partial

    def _changes(
        self, run: Run, output: Output, stored: Partitions, computed: Partitions
    ) -> Iterator[Changed]:
        """Yield the changes visible to the engine, by partition, and by column if reported."""
        for key, rows in computed.items():
            detail = self._compared_detail(run, (output.name, key))
            columns = self._differing(detail, output, key, stored.get(key), rows)
            is_same = columns is not None and not columns
            if is_same and detail is not ReportDetail.NOTHING:
                self.stage.counts["partition came out the same"] += 1
                continue
            of = self._groups_differing(detail, output, key, stored.get(key), rows)
            if detail is ReportDetail.COLUMNS:
                self.stage.counts["partition came out new in some columns"] += columns is not None
                yield Changed(self.stage.now, key, columns, of)
            else:
                self.stage.counts["partition came out new"] += 1
                yield Changed(self.stage.now, key, None, of)

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
        if key in self.stage.decisions.unverified[output.name] and detail is ReportDetail.WHOLE:
            self.stage.edited[output.name].add(key)
        unseen = self.stage.ledger.rewritten[output.name], self.stage.edited[output.name]
        if any(key in keys for keys in unseen):
            for keys in unseen:
                keys.discard(key)
            return None
        columns = differing(before, after)
        return None if columns == {*output.columns} else columns

    def _groups_differing(
        self, detail: ReportDetail, output: Output, key: Key, before: Rows | None, after: Rows
    ) -> Values:
        """Return the groups of changed rows to which the engine must limit downstream runs."""
        is_open = key in self.stage.decisions.unverified[output.name]
        if is_open or detail is ReportDetail.NOTHING:
            return None
        return groups_differing(before, after)

    # -- trouble -------------------------------------------------------------------------------

    async def fail(self, dice: Random) -> None:
        if self.runs:
            run = self.runs.pop(dice.randrange(len(self.runs)))
            self.stage.log_line(f"fail {lease_text(run.lease)}", "failed attempt")
            org, retryable = self.stage.org_context(dice), dice.random() >= 0.3
            retryable &= not self.is_hopeless
            try:
                await self.stage.do(
                    "fail",
                    lambda c: fail(c, org, run.lease, "it broke", retryable=retryable),
                    dice,
                )
            except LeaseLost:
                self.stage.log_line("… lease lost")

    async def give_up(self, dice: Random) -> None:
        """Fail an attempt without further retries."""
        self.is_hopeless = True
        try:
            await self.fail(dice)
        finally:
            self.is_hopeless = False

    async def spill(self, dice: Random) -> None:
        """Die or fail in the middle of writing, leaving arbitrary rows behind."""
        if not self.runs:
            return
        run = dice.choice(self.runs)
        if run.job.writes_with_its_completion:
            return
        if not await self.stage.rows(_HELD, id=run.lease.task_id, token=run.lease.token):
            return
        for dataset in run.lease.outputs:
            stored = self.stage.warehouse[dataset.name, dataset.version]
            for key in sorted({*keys_of(run.job, run.lease.partitions)} & stored.keys()):
                if dice.random() < 0.7:
                    stored[key] = _half_written(dice, run.job, stored[key])
                    self.stage.edited[dataset.name].add(key)
                    self.stage.spilled[dataset.name].add(key)
        self.stage.log_line(
            f"{run.lease.worker_id} writes for {lease_text(run.lease)}", "writes cut off"
        )
        self.runs.remove(run)
        if dice.random() < 0.5:
            self.runs.append(run)
            await self.fail(dice)

    async def vanish(self, dice: Random) -> None:
        """Die without reporting."""
        if self.runs:
            run = self.runs.pop(dice.randrange(len(self.runs)))
            self.stage.log_line(
                f"{run.lease.worker_id} dies over {lease_text(run.lease)}", "worker died"
            )

    async def heartbeat(self, dice: Random) -> None:
        """Send a heartbeat, and stop the run if its lease is lost."""
        if self.runs:
            run = dice.choice(self.runs)
            alive = await self.stage.do("heartbeat", lambda c: heartbeat(c, [run.lease], 30), dice)
            if not alive and run in self.runs:
                what = f"{run.lease.worker_id} hears that {lease_text(run.lease)} is lost"
                self.stage.log_line(what, "worker heard of its lost lease")
                self.runs.remove(run)


def _half_written(dice: Random, job: Job, rows: Rows) -> Rows:
    return {
        n: {c: v if c == GROUP else dice.randrange(job.coarse) for c, v in row.items()}
        for n, row in rows.items()
    }


def keys_of(job: Job, texts: Sequence[str]) -> list[Key]:
    """Return the keys named by texts."""
    return [key for each in texts for key in sorted(read_text(job.space, each))]


def lease_text(lease: Lease) -> str:
    """Return a lease as a short text."""
    return f"{lease.job.name}[{','.join(lease.partitions)}]"


def _ids(partitions: Partitions) -> Iterator[int]:
    return (n for rows in partitions.values() for n in rows)


def _completion(run: Run, content: Content) -> Completion:
    cursors: dict[UUID, str] = {}
    if run.newest is not None:
        (followed,) = (each for each in run.lease.job.inputs if each.cursor is not None)
        cursors[followed.dataset] = str(run.newest)
    return Completion(run.lease, reported(run.job, content, run.gaps), cursors)
