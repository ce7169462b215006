"""Outputs of accepted runs: the stored content, and its changes as visible to the engine."""

from __future__ import annotations

from collections.abc import Iterator
from uuid import UUID

from engine.model.task import Lease
from tests.simulation.dimensions import Key
from tests.simulation.ledger import Changed, Declared
from tests.simulation.reports import Content, ReportDetail
from tests.simulation.rows import Partitions, Rows, differing, groups_differing
from tests.simulation.runs import Run, keys_of
from tests.simulation.state import SINGLE_RUN_KEY, SimulationState
from tests.simulation.world import Columns, Output, Values


class Outputs:
    """Stored outputs, and the attempts that may have written them."""

    def __init__(self, state: SimulationState) -> None:
        self.state = state
        self.attempted: set[tuple[UUID, Key]] = set()
        """Partitions of output versions with an attempt not yet followed by a completed run."""
        self.newest_read: dict[UUID, int] = {}
        """Newest row reported by runs, by output version of jobs following rows."""
        self._without_columns: set[tuple[str, Key]] = set()
        """Partitions whose last run did not report fingerprints of all columns."""

    def accept(self, run: Run, content: Content) -> None:
        """Store the output of an accepted run, and record its changes."""
        ledger, now = self.state.ledger, self.state.now
        versions = {dataset.name: dataset.version for dataset in run.lease.outputs}
        for output in run.job.outputs:
            stored = self.state.warehouse[output.name, versions[output.name]]
            computed = content[output.name]
            changes = [*self._changes(run, output, stored, computed)]
            self.state.counts["unchanged partition of a chain"] += (
                run.job.own_read is not None and not changes
            )
            for changed in changes:
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
            self.newest_read[version] = max(run.newest, self.newest_read.get(version, run.newest))
        keys = [SINGLE_RUN_KEY] if run.job.is_single_run else [*content[run.job.outputs[0].name]]
        self.attempted -= {(version, key) for key in keys}
        ledger.last_runs.update(dict.fromkeys(((version, key) for key in keys), run.started))
        if not run.job.follows or None in run.lease.row_filters:
            self.state.decisions.run_completed(run.job, keys, run.started)
        if run.built_from_edits:
            self.state.decisions.built_from_edits(run.job, run.built_from_edits, now)

    def is_partly_written(self, version: UUID, key: Key) -> bool:
        """Return whether a built partition has had an attempt not followed by a completed run."""
        subject = version, key
        return subject in self.attempted and subject in self.state.ledger.last_runs

    def assume_written(self, lease: Lease) -> None:
        """Treat the partitions of an incomplete attempt as having unknown content."""
        job, version = self.state.world.by_name[lease.job.name], lease.outputs[0].version
        keys = [SINGLE_RUN_KEY] if job.is_single_run else keys_of(job, lease.partitions)
        for key in () if job.writes_atomically else keys:
            if (version, key) in self.attempted:
                for dataset in lease.outputs:
                    stored = self.state.warehouse[dataset.name, dataset.version]
                    self.state.edited[dataset.name] |= {*stored} if key == SINGLE_RUN_KEY else {key}
            self.attempted.add((version, key))

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
