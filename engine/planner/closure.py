"""Transitive closure of invalidations: every job reached, in topological order.

Each job is visited once, in the lineage's order and so after all of its inputs.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from datetime import datetime
from heapq import heappop, heappush
from uuid import UUID

from msgspec.structs import replace

from engine.garbage_collection import gc_paused
from engine.lineage.graph import Edge, Lineage
from engine.model.invalidation import Invalidation
from engine.model.job import Job
from engine.partitions import PartitionSet
from engine.planner.bounds import Extents
from engine.planner.chains import Later, later_partitions
from engine.planner.dirty import DirtyScope, coalesce
from engine.planner.edge import propagate, trigger_producer
from engine.planner.lookup import PartitionLookup
from engine.planner.plan import Changed, Plan, Pruned, PruningRule, Step, Trigger
from engine.planner.provenance import AffectedJobs
from engine.planner.scope import changes_in_place, dirty_scope
from engine.planner.strategy import dirty_output, must_run, recomputed, row_filters


@gc_paused()
def plan(
    lineage: Lineage,
    invalidations: Sequence[Invalidation],
    known: PartitionLookup,
    now: datetime,
) -> Plan:
    """Compute the closure of invalidations, each of the current version of its dataset.

    Partitions that are not in being by ``now`` are left out. The work is proportional to the
    affected part, whatever the size of the lineage.

    Raises:
        MissingState: raised by ``known``; names all datasets found to be missing in one pass.
        InvalidPartition, InvalidFilter: an invalidation's scope is impossible for its dataset.
        UnknownName: an invalidation's dataset is not in the lineage.
    """
    extents = Extents(lineage, known, now)
    closure = _Closure(lineage, extents, invalidations)
    closure.start()
    closure.visit_jobs()
    extents.check_loaded()
    return closure.plan()


_DirtyEdge = tuple[Edge, list[DirtyScope]]
"""Edge that may trigger a job, with the scopes dirty by the time of the job's visit."""


class _Closure:
    """Plan under construction.

    Jobs are identified by rank in the lineage's order: ``queue`` is a heap of jobs to visit,
    ``dirty_edges`` are the edges by which dirty inputs may trigger a job, ``wrong`` the wrong
    outputs of a job.
    """

    def __init__(
        self, lineage: Lineage, extents: Extents, invalidations: Sequence[Invalidation]
    ) -> None:
        self._lineage = lineage
        self._has_chains = lineage.has_chains
        self._extents = extents
        self._invalidations = invalidations
        self._affected = AffectedJobs(invalidations)
        self._queue: list[int] = []
        self._dirty_edges: dict[int, list[_DirtyEdge]] = {}
        self._wrong: defaultdict[int, list[tuple[UUID, DirtyScope]]] = defaultdict(list)
        self._dirty: dict[int, list[DirtyScope]] = {}
        self._changed: dict[UUID, tuple[Changed, ...]] = {}
        self._steps: list[Step] = []
        self._pruned: list[Pruned] = []

    def start(self) -> None:
        """Mark the parts that the invalidations make dirty."""
        dirty_scopes: defaultdict[UUID, list[DirtyScope]] = defaultdict(list)
        for invalidation in self._invalidations:
            members = self._affected.set_of(invalidation)
            dirty = dirty_scope(self._lineage, self._extents, invalidation, members)
            is_read = self._is_read(invalidation.dataset, dirty)
            if dirty.partitions or is_read or self._may_find_some(invalidation):
                dirty_scopes[invalidation.dataset].append(dirty)
            else:
                self._pruned.append(_nothing(invalidation))
        for dataset, scopes in dirty_scopes.items():
            self._mark(dataset, coalesce(scopes))

    def visit_jobs(self) -> None:
        """Visit the reached jobs in topological order."""
        while self._queue:
            self._visit(heappop(self._queue))

    def plan(self) -> Plan:
        """Return the finished plan."""
        affected = self._affected.by_invalidation()
        return Plan(tuple(self._steps), tuple(self._pruned), self._changed, affected)

    def _may_find_some(self, invalidation: Invalidation) -> bool:
        """Return True if a whole dataset is wrong and its job discovers partitions in inputs.

        A job that has run before is run again even without any input, because it may have read
        inputs that no longer exist.
        """
        if invalidation.is_rerun:
            return True
        job = self._lineage.producer(invalidation.dataset)
        is_all = invalidation.partition_key is None and not invalidation.row_filter
        if not (is_all and job.is_single_run) or changes_in_place(self._lineage, invalidation):
            return False
        return any(self._extents.of(edge.dataset) for edge in self._extents.determining(job))

    def _is_read(self, dataset: UUID, dirty: DirtyScope) -> bool:
        """Return True if an output may have been built from partitions that no event has named."""
        if dirty.unknown is None:
            return False
        readers = self._lineage.readers(dataset)
        return any(self._extents.known_of_job(self._lineage.job(edge.job)) for edge in readers)

    def _mark(self, dataset: UUID, scopes: Sequence[DirtyScope]) -> None:
        """Trigger the readers of changes in place, and the producer of wrong partitions."""
        changed = [scope for scope in scopes if scope.in_place]
        unversioned = [scope for scope in changed if scope.partitions and not scope.only_if_stale]
        if unversioned:
            self._changed[dataset] = tuple(
                Changed(scope.partitions, scope.columns, scope.rows) for scope in unversioned
            )
        if changed:
            self._spread(dataset, changed)
        for scope in scopes:
            if not scope.in_place:
                rank = self._lineage.rank[self._lineage.producer(dataset).id.int]
                if rank not in self._dirty_edges:
                    self._enqueue(rank)
                self._wrong[rank].append((dataset, scope))

    def _spread(self, dataset: UUID, scopes: Sequence[DirtyScope]) -> None:
        """Enqueue the readers; the dirty scopes are examined when a reader is visited."""
        for scope in scopes:
            self._extents.record_dirty(dataset, scope.partitions)
        if dataset.int in self._dirty:
            self._dirty[dataset.int] += scopes
            return
        dirty = self._dirty[dataset.int] = [*scopes]
        rank = self._lineage.rank
        is_in_chain = self._has_chains and not scopes[0].in_place
        for edge in self._lineage.readers(dataset):
            if is_in_chain and edge.is_self:
                continue  # its completion invalidates the partitions built from the changed ones
            reader = rank[edge.job.int]
            if reader not in self._dirty_edges:
                self._enqueue(reader)
            self._dirty_edges[reader].append((edge, dirty))

    def _enqueue(self, rank: int) -> None:
        self._dirty_edges[rank] = []
        heappush(self._queue, rank)

    def _visit(self, rank: int) -> None:
        job = self._lineage.order[rank]
        dirty_edges = self._dirty_edges.pop(rank)
        wrong = self._wrong.pop(rank, ())
        if job.is_manual:
            self._pruned += [
                Pruned(edge.dataset, job.id, PruningRule.MANUAL, _MANUAL) for edge, _ in dirty_edges
            ]
            dirty_edges = []  # An invalidation of its own output is a request to run it.
        triggers: list[Trigger] = []
        for dataset, dirty in wrong:
            self._note(trigger_producer(self._extents, job, dataset, dirty), triggers)
        # Edges with unmapped dimensions come last: partitions reached over others count as known.
        if len(dirty_edges) > 1:
            dirty_edges.sort(key=_has_unmapped)
        for edge, scopes in dirty_edges:
            for dirty in scopes:
                self._note(propagate(self._extents, job, edge, dirty, triggers), triggers)
        if triggers:
            self._step(job, triggers)

    def _note(self, result: Trigger | Pruned, triggers: list[Trigger]) -> None:
        if isinstance(result, Trigger):
            triggers.append(result)
        else:
            self._pruned.append(result)

    def _step(self, job: Job, triggers: Sequence[Trigger]) -> None:
        partitions = recomputed(job, self._extents, triggers)
        later = self._later(job, partitions) if self._has_chains else ()
        for index, output in enumerate(job.outputs):
            if scopes := _without(dirty_output(job, index, triggers, partitions), later):
                self._spread(output, scopes)
        invalidations = 0
        for trigger in triggers:
            invalidations |= trigger.dirty.invalidations
        if self._affected.record(invalidations, job.id):
            direct, if_stale = must_run(job, self._extents, triggers, partitions)
            rows = row_filters(job, triggers)
            self._steps.append(
                Step(job.id, partitions, direct, if_stale, rows, tuple(triggers), later)
            )

    def _later(self, job: Job, partitions: PartitionSet) -> tuple[Later, ...]:
        """Return the partitions that wait for earlier ones of the job itself."""
        edge = self._lineage.self_edge(job.id)
        if edge is None or not partitions:
            return ()
        return later_partitions(edge, partitions, self._extents.unfinished(edge.dataset))


def _without(scopes: Sequence[DirtyScope], later: Sequence[Later]) -> Sequence[DirtyScope]:
    """Leave out partitions without tasks: their readers are reached once they have some."""
    if not later:
        return scopes
    waiting = PartitionSet.union([each.partitions for each in later])
    kept = [replace(scope, partitions=scope.partitions - waiting) for scope in scopes]
    return [scope for scope in kept if scope.partitions]


_MANUAL = "it runs only when somebody asks for it"


def _has_unmapped(dirty_edge: _DirtyEdge) -> bool:
    return bool(dirty_edge[0].unmapped)


def _nothing(invalidation: Invalidation) -> Pruned:
    detail = "no partition that it has or can have is in the scope of the invalidation"
    return Pruned(invalidation.dataset, None, PruningRule.PARTITIONS, detail)
