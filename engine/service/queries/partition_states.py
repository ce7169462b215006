"""The states of a dataset's partitions, as ranges of keys."""

from collections.abc import Iterator, Sequence
from enum import StrEnum

import msgspec

from engine.errors import InvalidPartition
from engine.flow.planning.audit import audit
from engine.flow.planning.pending_work import Verdict
from engine.flow.shared.load_partitions import load_existing, load_expected
from engine.flow.shared.org_context import OrgContext
from engine.flow.shared.stale import judged_keys
from engine.lineage.graph import Lineage
from engine.model.dataset import Dataset
from engine.model.job import Job
from engine.model.states import Role, TaskStatus
from engine.partitions import PartitionSet, PartitionSpace
from engine.planner.first_runs import SINGLE_RUN_KEY
from engine.service.caller import Caller, requires
from engine.service.names import dataset_named
from engine.service.service import Service
from engine.store.clock import load_now
from engine.store.database import Connection
from engine.store.rows.stale import OpenTask
from engine.store.run import fetch


class PartitionState(StrEnum):
    """State of a partition; the first that applies counts.

    A partition is missing if its inputs exist, but neither the partition nor a task for it.
    """

    RUNNING = "running"
    FAILED = "failed"
    QUEUED = "queued"
    BLOCKED = "blocked"
    LOST = "lost"
    LEFT = "left stale"
    STALE = "stale"
    MISSING = "missing"
    FRESH = "fresh"


class StateRow(msgspec.Struct, frozen=True):
    """The partitions in one state: their number, and their keys as keys and ranges."""

    state: PartitionState
    count: int
    partitions: tuple[str, ...]


_OF_TASKS = {
    TaskStatus.RUNNING: PartitionState.RUNNING,
    TaskStatus.FAILED: PartitionState.FAILED,
    TaskStatus.QUEUED: PartitionState.QUEUED,
    TaskStatus.BLOCKED: PartitionState.BLOCKED,
}
_OF_VERDICTS = {
    Verdict.LOST: PartitionState.LOST,
    Verdict.LEFT: PartitionState.LEFT,
    Verdict.IN_HAND: PartitionState.STALE,
}
_States = dict[PartitionState, PartitionSet]
_Texts = dict[PartitionState, list[str]]


@requires(Role.READER)
async def partition_states(caller: Caller, service: Service, dataset: str) -> list[StateRow]:
    """Return the states of a dataset's partitions, without states of no partition.

    A single-run job builds all of its partitions together, so they share one state. Raises
    UnknownName.
    """
    async with service.connection(caller) as (conn, org):
        lineage = await org.lineage(conn)
        visible = await service.visibility(caller, conn, org)
        row = dataset_named(lineage, dataset, visible)
        job = lineage.producer(row.id)
        texts = await _of_audit(conn, org, row) | await _of_tasks(conn, job)
        existing = expected = await load_existing(conn, lineage, row.id)
        if not job.is_source and not job.is_single_run:
            expected = existing | await load_expected(conn, lineage, job, await load_now(conn))
    space = lineage.space(row.id)
    sets = {state: _partitions(space, keys, existing, expected) for state, keys in texts.items()}
    sets |= {PartitionState.MISSING: expected - existing, PartitionState.FRESH: existing}
    return list(_rows(lineage, row, sets))


def _rows(lineage: Lineage, dataset: Dataset, sets: _States) -> Iterator[StateRow]:
    space = lineage.space(dataset.id)
    counted = space.from_keys(())
    for state in PartitionState:
        partitions = sets.get(state, counted) - counted
        counted |= partitions
        if partitions:
            yield StateRow(state, partitions.count(), tuple(space.texts(partitions)))


async def _of_tasks(conn: Connection, job: Job) -> _Texts:
    texts: _Texts = {}
    for task in await fetch(conn, "stale.open_tasks", OpenTask, job=job.id, keys=None):
        keys = judged_keys(job, task.partitions)
        texts.setdefault(_OF_TASKS[task.status], []).extend(keys)
    return texts


async def _of_audit(conn: Connection, org: OrgContext, dataset: Dataset) -> _Texts:
    texts: _Texts = {}
    async for part in audit(conn, org, dataset.name):
        for stale in part.stale:
            texts.setdefault(_OF_VERDICTS[stale.verdict], []).append(stale.partition)
    return texts


def _partitions(
    space: PartitionSpace, texts: Sequence[str], existing: PartitionSet, expected: PartitionSet
) -> PartitionSet:
    """Return the partitions of keys and ranges; those with an open end only as far as expected.

    ``*`` stands for all that exist, and so does a key of another dataset version, until planned.
    """
    if SINGLE_RUN_KEY in texts and space.names:
        return existing
    partitions = space.from_keys(())
    for text in texts:
        try:
            named = space.parse(text)
        except InvalidPartition:
            named = existing
        partitions |= named if named.is_finite else named & expected
    return partitions
