"""Decision: the plan for open invalidations, computed before any part of it is executed."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import dataclass, replace
from typing import Any
from uuid import UUID

import msgspec

from engine.errors import InvalidPartition
from engine.flow.planning.carry_over import carry_late
from engine.flow.planning.fingerprints import Compared, compare_fingerprints
from engine.flow.shared.load_partitions import (
    answer_from_known,
    load_existing,
    load_existing_among,
)
from engine.flow.shared.org_context import OrgContext
from engine.flow.shared.recorded_runs import load_have_ever_run
from engine.lineage.graph import Lineage
from engine.lineage.narrowing import narrow
from engine.model.invalidation import ABOUT_READERS, Invalidation
from engine.partitions import PartitionSet
from engine.partitions.text import text_count
from engine.planner import MOST_LOOKED_UP, Plan, check_size, document, task_count
from engine.planner import plan as make_plan
from engine.planner.bounds import clamp_open_ends
from engine.planner.scope import row_filter
from engine.store.clock import load_now
from engine.store.database import Connection
from engine.store.rows.invalidations import LockedInvalidation
from engine.store.run import execute

_MOST_PARTS = 100
"""Limit on the parts of an invalidation, beyond which its columns and rows are widened."""


@dataclass(frozen=True, slots=True)
class Decision:
    """A plan, its invalidations, their changed parts, and the lineage of the computation."""

    lineage: Lineage
    invalidations: Sequence[Invalidation]
    plan: Plan
    compared: Compared

    @property
    def unchanged(self) -> Set[UUID]:
        """Return the invalidations whose partitions all have the fingerprint of the event."""
        changed = {part.id for part in self.compared.parts}
        return {each.id for each in self.invalidations} - changed

    @property
    def tasks(self) -> int:
        """Return the number of tasks that the plan creates or joins."""
        return sum(task_count(step, self.lineage) for step in self.plan.steps)

    @property
    def document(self) -> dict[str, Any]:
        """Return the plan as stored."""
        return document(self.plan, self.lineage)


async def decide_rows(
    conn: Connection, org: OrgContext, rows: Sequence[LockedInvalidation]
) -> Decision:
    """Plan locked invalidations, given as table rows."""
    lineage = await org.lineage(conn)
    return await decide(conn, lineage, await _of_current_versions(conn, lineage, rows))


async def decide(
    conn: Connection, lineage: Lineage, invalidations: Sequence[Invalidation]
) -> Decision:
    """Plan invalidations of current dataset versions.

    Raises InvalidPartition or InvalidFilter if their partitions or rows cannot be planned or are
    too many.
    """
    compared = await compare_fingerprints(conn, lineage, invalidations)
    existing = await _existing(conn, lineage, compared.parts)
    parts = [part for changed in compared.parts for part in _parts(lineage, changed, existing)]
    marked = await _mark_reruns(conn, lineage, parts)
    now = await load_now(conn)
    plan = await answer_from_known(
        conn, lineage, lambda known: make_plan(lineage, marked, known, now)
    )
    check_size(plan, lineage)
    return Decision(lineage, invalidations, plan, compared)


async def _mark_reruns(
    conn: Connection, lineage: Lineage, invalidations: Sequence[Invalidation]
) -> list[Invalidation]:
    """Mark invalidations of all that a single-run job has built, if the job has ever run.

    A run of an earlier dataset version counts: it may have read inputs that no event has named.
    """
    whole = [
        invalidation
        for invalidation in invalidations
        if _is_of_all_partitions(lineage, invalidation)
        and not invalidation.row_filter
        and lineage.producer(invalidation.dataset).is_single_run
    ]
    if not whole:
        return list(invalidations)
    have_run = await load_have_ever_run(conn, [invalidation.dataset for invalidation in whole])
    reruns = {invalidation.id for invalidation in whole if invalidation.dataset in have_run}
    return [
        replace(invalidation, is_rerun=invalidation.id in reruns) for invalidation in invalidations
    ]


def _is_of_all_partitions(lineage: Lineage, invalidation: Invalidation) -> bool:
    """Return True if all partitions of a produced dataset are to be recomputed."""
    job = lineage.producer(invalidation.dataset)
    is_wrong = not job.is_source and invalidation.reason not in ABOUT_READERS
    return invalidation.partition_key is None and is_wrong


async def _of_current_versions(
    conn: Connection, lineage: Lineage, rows: Sequence[LockedInvalidation]
) -> list[Invalidation]:
    """Select invalidations of current dataset versions, and carry those of sources over.

    Other invalidations are marked as not current: they are kept but not planned. So are those of
    partitions that a deploy has removed meanwhile.
    """
    current: list[LockedInvalidation] = []
    of_sources: list[LockedInvalidation] = []
    for row in rows:
        dataset = lineage.find_dataset(row.dataset_uuid)
        if dataset is not None and dataset.version == row.dataset_version:
            if (inside := _within_bounds(lineage, row)) is not None:
                current.append(inside)
        elif dataset is not None and lineage.producer(dataset.id).is_source:
            of_sources.append(row)
    current += await carry_late(conn, lineage, of_sources)
    not_current = {row.id for row in rows} - {row.id for row in current}
    if not_current:
        await execute(conn, "invalidations.not_current", ids=list(not_current))
    return list(map(_invalidation, current))


def _within_bounds(lineage: Lineage, row: LockedInvalidation) -> LockedInvalidation | None:
    """Limit an invalidation to the bounds of its dataset; None: it has none of the partitions.

    A deploy may have changed the bounds while the invalidation was being written. Without a meaning
    in any bounds it is unchanged, and set aside.
    """
    if row.partition_key is None:
        return row
    space = lineage.space(row.dataset_uuid)
    try:
        space.parse(row.partition_key)
    except InvalidPartition:
        try:
            text = space.convert_text(space.unlimited(), row.partition_key)
        except InvalidPartition:
            return row
        return None if text is None else msgspec.structs.replace(row, partition_key=text)
    return row


def _is_narrow(invalidation: Invalidation) -> bool:
    return invalidation.columns is not None or bool(invalidation.row_filter)


async def _existing(
    conn: Connection, lineage: Lineage, invalidations: Iterable[Invalidation]
) -> dict[UUID, PartitionSet]:
    """Load existing partitions of the datasets of narrow invalidations.

    A few named partitions are looked up by their keys, because reading all keys of a dataset takes
    longer with every partition.
    """
    named: defaultdict[UUID, list[PartitionSet]] = defaultdict(list)
    for invalidation in filter(_is_narrow, invalidations):
        named[invalidation.dataset].append(_selected(lineage, invalidation))
    existing = {}
    for dataset, sets in named.items():
        partitions = PartitionSet.union(sets)
        if partitions.is_finite and partitions.count() <= MOST_LOOKED_UP:
            existing[dataset] = await load_existing_among(conn, lineage, dataset, partitions)
        else:
            existing[dataset] = await load_existing(conn, lineage, dataset)
    return existing


def _selected(lineage: Lineage, invalidation: Invalidation) -> PartitionSet:
    """Return the partitions named by an invalidation; none if of the whole dataset."""
    space = lineage.space(invalidation.dataset)
    if invalidation.partition_key is None:
        return space.empty
    named = space.parse(invalidation.partition_key) & space.universe
    return narrow(row_filter(lineage, invalidation), space, named)


def _parts(
    lineage: Lineage, invalidation: Invalidation, existing: Mapping[UUID, PartitionSet]
) -> list[Invalidation]:
    """Add the new partitions of a narrow invalidation, in which everything counts as changed.

    As in a plan, an unbounded dimension stands for the keys that exist in it. The invalidation
    itself keeps its scope, which may include partitions that no event has named.
    """
    if not _is_narrow(invalidation):
        return [invalidation]
    known, named = existing[invalidation.dataset], _selected(lineage, invalidation)
    selected = clamp_open_ends(named, lambda: known)
    if known and known.covers(selected):
        return [invalidation]
    space, new = named.space, selected - known
    is_new = not selected & known
    if is_new or text_count(space.dimensions, new.boxes) > _MOST_PARTS:
        return [_widened(lineage, invalidation)]
    wide = _widened(lineage, invalidation)
    return [invalidation, *(replace(wide, partition_key=text) for text in space.texts(new))]


def _widened(lineage: Lineage, invalidation: Invalidation) -> Invalidation:
    """Widen an invalidation to all columns and rows.

    Conditions on partition columns are kept, because they select partitions rather than rows.
    """
    space = lineage.space(invalidation.dataset)
    rows = row_filter(lineage, invalidation)
    cut_by = {dimension.column or name for name, dimension in space.dimensions}
    on_partitions = {
        column: condition for column, condition in rows.spec().items() if column in cut_by
    }
    kept = None if invalidation.row_filter is None else on_partitions
    return replace(invalidation, columns=None, row_filter=kept)


def _invalidation(row: LockedInvalidation) -> Invalidation:
    return Invalidation(
        id=row.id,
        dataset=row.dataset_uuid,
        version=row.dataset_version,
        reason=row.reason,
        partition_key=row.partition_key,
        columns=None if row.columns is None else frozenset(row.columns),
        row_filter=row.row_filter,
        processed_by=frozenset(row.processed_by),
        fingerprint=row.fingerprint,
    )
