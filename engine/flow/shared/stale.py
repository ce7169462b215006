"""Stale: the only definition of a stale partition, by the evidence in the tables.

A partition is stale in any of these cases:

- the definition of its job differs from that of its run;
- an input has changed since the run, in columns and rows that reach the partition;
- a needed input has appeared or is gone;
- an attempt since the run may have written a part of it;
- an invalidation since the run has declared it wrong;
- a `PerUpdate` job does not read new rows, or old rows again, by decision;
- it was never built, although it is in being, and everything its first run waits for exists.

A single-run job is judged as a whole, under the key ``*``.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from functools import partial
from typing import TypeVar
from uuid import UUID

import msgspec
from psycopg.types.json import Jsonb

from engine.errors import InvalidPartition
from engine.flow.shared.load_partitions import answer_from_existing
from engine.lineage.columns import ALL_COLUMNS, read_columns
from engine.lineage.content import RowChange
from engine.lineage.graph import Edge, Lineage
from engine.lineage.scope import is_reached
from engine.model.job import Job
from engine.partitions import PartitionSet
from engine.planner import (
    LoadedPartitions,
    PartitionLookup,
    first_run_is_due,
    input_partitions,
)
from engine.planner.first_runs import SINGLE_RUN_KEY
from engine.planner.inputs import up
from engine.store.clock import load_now
from engine.store.database import Connection
from engine.store.rows.stale import ChangedInput, RecordedRun, UnrecordedInput
from engine.store.run import fetch

T = TypeVar("T")
Subject = tuple[UUID, str]
"""Job and one of its partition keys, ``*`` for a single-run job."""
_Needed = tuple[UUID, PartitionSet]
"""Partitions of an input dataset."""
_Runs = Mapping[UUID, Sequence[tuple[Job, str]]]
"""By task, the partitions with content from its run."""


class StaleRule(StrEnum):
    """Rule by which a partition is stale; the last two apply in the audit only.

    Planning recomputes an invalidated partition anyway, and a stalled one has a task whose blockers
    have all ended.
    """

    DEFINITION = "definition"
    INPUT_CHANGED = "input changed"
    INPUT_APPEARED = "input appeared"
    INPUT_GONE = "input gone"
    PARTLY_WRITTEN = "partly written"
    DECLARED_WRONG = "declared wrong"
    ROWS_NOT_READ = "rows not read"
    NEW_ROWS_NOT_READ = "new rows not read"
    NEVER_BUILT = "never built"
    INVALIDATED = "invalidated"
    STALLED = "stalled"


class StaleReason(msgspec.Struct, frozen=True):
    """Reason for staleness; versions are those of the input ``partition`` of ``dataset``."""

    rule: StaleRule
    dataset: str | None = None
    partition: str | None = None
    recorded: datetime | None = None
    version: datetime | None = None


Stale = Mapping[Subject, Sequence[StaleReason]]


async def stale_partitions(
    conn: Connection, lineage: Lineage, needs: Sequence[tuple[Job, Sequence[str]]]
) -> Stale:
    """Judge partitions of jobs other than sources; return the stale ones with the reasons."""
    subjects = [(job, key) for job, keys in needs for key in judged_keys(job, keys)]
    judgement = _Judgement(conn, lineage)
    runs = await _runs(conn, lineage, subjects)
    built = [(*subject, run.task_id) for subject, run in runs if run.task_id]
    for (job, key), run in runs:
        if run.task_id and run.config_hash != job.config_hash:
            judgement.add(job, key, StaleReason(StaleRule.DEFINITION))
        if run.is_partly_written:
            judgement.add(job, key, StaleReason(StaleRule.PARTLY_WRITTEN))
        if run.is_declared_wrong:
            judgement.add(job, key, StaleReason(StaleRule.DECLARED_WRONG))
        if run.has_unread_rows:
            judgement.add(job, key, StaleReason(StaleRule.ROWS_NOT_READ))
        if run.has_unread_new_rows:
            judgement.add(job, key, StaleReason(StaleRule.NEW_ROWS_NOT_READ))
    await judgement.judge_changes(built)
    await judgement.judge_appearances(built)
    await judgement.judge_first_runs([subject for subject, run in runs if not run.task_id])
    return judgement.reasons


async def _runs(
    conn: Connection, lineage: Lineage, subjects: Sequence[tuple[Job, str]]
) -> list[tuple[tuple[Job, str], RecordedRun]]:
    """Fetch for each subject the run that built its current content."""
    runs: list[tuple[tuple[Job, str], RecordedRun]] = []
    for is_single_run in (False, True):
        asked = [subject for subject in subjects if subject[0].is_single_run is is_single_run]
        if asked:
            datasets = [lineage.dataset(job.outputs[0]) for job, _ in asked]
            rows = await fetch(
                conn,
                "stale.last_runs" if is_single_run else "stale.runs",
                RecordedRun,
                datasets=[dataset.id for dataset in datasets],
                versions=[dataset.version for dataset in datasets],
                keys=[key for _, key in asked],
            )
            runs += zip(asked, rows, strict=True)
    return runs


@dataclass(slots=True)
class _Judgement:
    """Collected reasons, with caches; ``existing`` holds the partitions of datasets.

    ``needed`` holds the input partitions of output partitions, by edge.
    """

    conn: Connection
    lineage: Lineage
    reasons: dict[Subject, list[StaleReason]] = field(default_factory=dict)
    existing: LoadedPartitions = field(default_factory=LoadedPartitions)
    needed: dict[tuple[Edge, str], PartitionSet] = field(default_factory=dict)

    def add(self, job: Job, key: str, reason: StaleReason) -> None:
        self.reasons.setdefault((job.id, key), []).append(reason)

    async def judge_changes(self, built: Sequence[tuple[Job, str, UUID]]) -> None:
        """Find inputs that are gone, or have changed since the run in a relevant scope."""
        by_task = _by_task(built)
        runs = {task: job.id for job, _, task in built}
        rows = await fetch(
            self.conn,
            "stale.changed_inputs",
            ChangedInput,
            tasks=list(runs),
            jobs=list(runs.values()),
            reads=Jsonb(_columns_read(self.lineage, set(runs.values()))),
        )
        for row in rows:
            for job, key in by_task[row.task_id]:
                if await self._is_newer(job, key, row):
                    self.add(job, key, self._reason(row, row.recorded))

    async def judge_appearances(self, built: Sequence[tuple[Job, str, UUID]]) -> None:
        """Find inputs that a run would read today and the recorded run has not read.

        Partitions with the same needed inputs are judged together, so that inputs are listed once.
        """
        tasks: list[UUID] = []
        groups: dict[int, _Runs] = {}
        listed: list[tuple[int, int, UUID, UUID, str]] = []
        for (dataset, partitions), runs in (await self._by_needs(built)).items():
            first = len(tasks) + 1
            groups[first] = runs
            tasks += runs
            version = self.lineage.dataset(dataset).version
            keys = self.lineage.space(dataset).keys(partitions)
            listed += [(first, len(tasks), dataset, version, key) for key in keys]
        for row in await self._unrecorded(tasks, listed):
            for job, key in groups[row.first_task][row.task_id]:
                self.add(job, key, self._reason(row, None))

    async def _unrecorded(
        self, tasks: Sequence[UUID], listed: Sequence[tuple[int, int, UUID, UUID, str]]
    ) -> list[UnrecordedInput]:
        """Fetch existing partitions that tasks have not read, each with its range of tasks."""
        if not listed:
            return []
        firsts, lasts, datasets, versions, keys = map(list, zip(*listed, strict=True))
        return await fetch(
            self.conn,
            "stale.unrecorded_inputs",
            UnrecordedInput,
            tasks=list(tasks),
            first_tasks=firsts,
            last_tasks=lasts,
            datasets=datasets,
            versions=versions,
            keys=keys,
        )

    async def _by_needs(self, built: Sequence[tuple[Job, str, UUID]]) -> Mapping[_Needed, _Runs]:
        """Group runs by needed input partitions, except for inputs that need no look-up.

        A run of single partitions has recorded the one input partition that an identity gives.
        """
        runs_by_need: dict[_Needed, dict[UUID, list[tuple[Job, str]]]] = {}
        for job, key, task in built:
            asked = {
                edge.dataset
                for edge in self.lineage.inputs(job.id)
                if job.is_single_run or not edge.mapping.is_identity
            }
            if asked:
                needs = partial(input_partitions, self.lineage, job, [key])
                for dataset, partitions in (await self._answer(needs)).items():
                    if dataset in asked:
                        runs = runs_by_need.setdefault((dataset, partitions), {})
                        runs.setdefault(task, []).append((job, key))
        return runs_by_need

    async def judge_first_runs(self, unbuilt: Sequence[tuple[Job, str]]) -> None:
        """Find partitions that were never built although nothing blocks their first run."""
        if not unbuilt:
            return
        now = await load_now(self.conn)
        for job, key in unbuilt:
            if await self._answer(partial(first_run_is_due, self.lineage, job, key, now=now)):
                self.add(job, key, StaleReason(StaleRule.NEVER_BUILT))

    def _reason(
        self, row: ChangedInput | UnrecordedInput, recorded: datetime | None
    ) -> StaleReason:
        rule = StaleRule.INPUT_APPEARED if recorded is None else StaleRule.INPUT_CHANGED
        if row.version is None:
            rule = StaleRule.INPUT_GONE
        name = self.lineage.dataset(row.dataset).name
        return StaleReason(rule, name, row.key, recorded, row.version)

    async def _is_newer(self, job: Job, key: str, row: ChangedInput) -> bool:
        """Return True if the change in the row concerns the partition."""
        edges = [edge for edge in self.lineage.inputs(job.id) if edge.dataset == row.dataset]
        if not edges or not await self._needs(job, key, row.dataset, row.key):
            return False
        if row.version is None or row.recorded is None or row.version > row.recorded:
            return True
        changes = msgspec.convert(row.row_changes, tuple[RowChange, ...])
        space = self.lineage.job_space(job)
        partition = space.universe if key == SINGLE_RUN_KEY else space.parse(key)
        return any(
            is_reached(edge, partition, change.scope)
            for change in changes
            if change.at > row.recorded
            for edge in edges
        )

    async def _needs(self, job: Job, key: str, dataset: UUID, input_key: str) -> bool:
        """Return True if a partition needs an input partition; a run may have read more."""
        edges = [edge for edge in self.lineage.inputs(job.id) if edge.dataset == dataset]
        try:
            wanted = self.lineage.space(dataset).parse(input_key)
        except InvalidPartition:
            return any(self._needed_before(edge, job, key, input_key) for edge in edges)
        for edge in edges:
            needed = await self._needed(edge, job, key)
            if needed.covers(wanted):
                return True
        return False

    def _needed_before(self, edge: Edge, job: Job, key: str, input_key: str) -> bool:
        """Return True if a partition needed an input partition that a deploy has removed.

        A key map has lost the removed keys, so that it no longer shows their outputs.
        """
        space = self.lineage.job_space(job)
        partition = space.universe if job.is_single_run else space.parse(key)
        if edge.mapping.takes_last:
            return True
        mapping = edge.mapping.from_unlimited()
        return mapping.up(partition).covers(mapping.source.parse(input_key))

    async def _needed(self, edge: Edge, job: Job, key: str) -> PartitionSet:
        """Return the input partitions from which a partition is built over one edge."""
        needed = self.needed.get((edge, key))
        if needed is None:
            space = self.lineage.job_space(job)
            partition = space.universe if job.is_single_run else space.parse(key)
            needed = self.needed[edge, key] = await self._answer(partial(up, edge, partition))
        return needed

    async def _answer(self, question: Callable[[PartitionLookup], T]) -> T:
        """Answer a question about existing partitions, loading them on demand."""
        return await answer_from_existing(self.conn, self.lineage, self.existing, question)


def _by_task(built: Sequence[tuple[Job, str, UUID]]) -> _Runs:
    partitions_by_task: dict[UUID, list[tuple[Job, str]]] = {}
    for job, key, task in built:
        partitions_by_task.setdefault(task, []).append((job, key))
    return partitions_by_task


def _columns_read(lineage: Lineage, jobs: Collection[UUID]) -> list[dict[str, object]]:
    """Return the columns read by jobs, by job and dataset; inputs read in full are left out."""
    return [
        {"job": job, "dataset": edge.dataset, "columns": sorted(columns)}
        for job in jobs
        for edge in lineage.inputs(job)
        if (columns := read_columns(edge.columns)) is not ALL_COLUMNS
    ]


def stale_keys(stale: Stale, job: Job, keys: Sequence[str]) -> Iterator[str]:
    """Yield the stale partition keys of a job."""
    return (key for key in keys if (job.id, SINGLE_RUN_KEY if job.is_single_run else key) in stale)


def judged_keys(job: Job, keys: Sequence[str]) -> Sequence[str]:
    """Return the keys under which partitions are judged: ``*`` alone for a single-run job."""
    return (SINGLE_RUN_KEY,) if job.is_single_run else keys
