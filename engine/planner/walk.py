"""The walk from what is dirty down to everything that it reaches, parents first."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from functools import cache, reduce
from heapq import heappop, heappush
from operator import or_
from uuid import UUID

from engine.collector import paused_collector
from engine.lineage.columns import widest
from engine.lineage.graph import Edge, Lineage
from engine.model.invalidation import Invalidation
from engine.model.job import Job
from engine.planner.crossing import Hit, cross, hit_itself
from engine.planner.dirt import Causes, Dirt, coalesce
from engine.planner.extent import Extents
from engine.planner.known import Known, KnownNeeded
from engine.planner.plan import Changed, Plan, Pruned, Step, Via
from engine.planner.scope import changes_in_place, dirt_of
from engine.planner.strategy import dirty_outputs, recomputed, recomputed_for_sure, row_filters


@paused_collector()
def plan(lineage: Lineage, invalidations: Sequence[Invalidation], known: Known) -> Plan:
    """Work out what some invalidations knock on; each is of the version that is served.

    The work is proportional to what is hit, whatever the size of the lineage.

    Raises:
        KnownNeeded: ``known`` raised it; it names all that could be found missing in one pass.
        InvalidPartition, InvalidFilter: an invalidation's scope that its dataset cannot have.
        UnknownName: an invalidation of a dataset that is not in the lineage.
    """
    extents = Extents(lineage, known)
    walk = _Walk(lineage, extents, invalidations)
    walk.start()
    walk.finish()
    if extents.missing:
        raise KnownNeeded(extents.missing)
    return walk.plan()


class _Walk:
    """Jobs wait in the lineage's order, so that a visit finds all that its inputs became."""

    def __init__(
        self, lineage: Lineage, extents: Extents, invalidations: Sequence[Invalidation]
    ) -> None:
        self._lineage = lineage
        self._extents = extents
        self._invalidations = invalidations
        self._done = _done(invalidations)
        self._ids: dict[Causes, tuple[UUID, ...]] = {}
        self._queue: list[int] = []
        self._dirty: dict[UUID, Sequence[Dirt]] = {}
        self._edges: dict[int, list[Edge]] = {}
        self._wrong: defaultdict[int, list[tuple[UUID, Dirt]]] = defaultdict(list)
        self._affected: defaultdict[Causes, list[UUID]] = defaultdict(list)
        self._changed: dict[UUID, tuple[Changed, ...]] = {}
        self._steps: list[Step] = []
        self._pruned: list[Pruned] = []

    def start(self) -> None:
        """Lay the dirt of the invalidations."""
        found: defaultdict[UUID, list[Dirt]] = defaultdict(list)
        for i, invalidation in enumerate(self._invalidations):
            dirt = dirt_of(self._lineage, self._extents, invalidation, 1 << i)
            if dirt.partitions or self._may_find_some(invalidation):
                found[invalidation.dataset].append(dirt)
            else:
                self._pruned.append(_nothing(invalidation))
        for dataset, laid in found.items():
            self._lay(dataset, coalesce(laid))

    def _may_find_some(self, invalidation: Invalidation) -> bool:
        """Whether all of a dataset is wrong whose job finds its partitions in what it reads."""
        job = self._lineage.producer(invalidation.dataset)
        is_all = invalidation.partition_key is None and not invalidation.row_filter
        if not (is_all and job.is_unit) or changes_in_place(self._lineage, invalidation):
            return False
        return any(self._extents.of(edge.dataset) for edge in self._lineage.inputs(job.id))

    def finish(self) -> None:
        """Visit the jobs that it reaches."""
        while self._queue:
            self._visit(heappop(self._queue))

    def plan(self) -> Plan:
        """What was found."""
        # Invalidations that were in on the same things share one set of jobs.
        jobs = cache(lambda kinds: frozenset().union(*(self._affected[kind] for kind in kinds)))
        affected = {
            each.id: jobs(tuple(kind for kind in self._affected if kind >> n & 1))
            for n, each in enumerate(self._invalidations)
        }
        return Plan(tuple(self._steps), tuple(self._pruned), self._changed, affected)

    def _lay(self, dataset: UUID, dirt: Sequence[Dirt]) -> None:
        changed = [each for each in dirt if each.has_changed]
        if changed:
            self._changed[dataset] = tuple(
                Changed(each.partitions, each.columns) for each in changed
            )
            self._spread(dataset, changed)
        for each in dirt:
            if not each.has_changed:
                rank = self._lineage.rank[self._lineage.producer(dataset).id]
                self._await(rank)
                self._wrong[rank].append((dataset, each))

    def _spread(self, dataset: UUID, dirt: Sequence[Dirt]) -> None:
        """Have the readers visited; they look at the dirt when their turn comes."""
        before = self._dirty.get(dataset)
        self._dirty[dataset] = [*before, *dirt] if before else dirt
        if not before:
            for edge in self._lineage.readers(dataset):
                self._await(self._lineage.rank[edge.job]).append(edge)

    def _await(self, rank: int) -> list[Edge]:
        """The edges that wait for a job's turn."""
        edges = self._edges.get(rank)
        if edges is None:
            edges = self._edges[rank] = []
            heappush(self._queue, rank)
        return edges

    def _visit(self, rank: int) -> None:
        job = self._lineage.order[rank]
        edges = self._edges.pop(rank)
        wrong = self._wrong.pop(rank, [])
        if job.activation == "manual":
            self._pruned += [Pruned(edge.dataset, job.id, "manual", _MANUAL) for edge in edges]
            edges = []  # but it runs when its own output is invalidated: that is how one asks
        hits = [hit_itself(job, dataset, dirt) for dataset, dirt in wrong]
        # Edges with unmapped dimensions last: what the others hit counts as existing.
        edges.sort(key=_has_unmapped)
        for edge in edges:
            self._cross(job, edge, hits)
        if hits:
            self._step(job, hits)

    def _cross(self, job: Job, edge: Edge, hits: list[Hit]) -> None:
        for dirt in self._dirty[edge.dataset]:
            crossed = cross(self._extents, job, edge, dirt, hits)
            if isinstance(crossed, Hit):
                hits.append(crossed)
            else:
                self._pruned.append(crossed)

    def _step(self, job: Job, hits: Sequence[Hit]) -> None:
        whole = recomputed(job, self._extents, hits)
        columns = {}
        for output, dirt in zip(job.outputs, dirty_outputs(job, hits, whole), strict=True):
            if dirt:
                columns[output] = reduce(widest, [each.columns for each in dirt])
                self._spread(output, dirt)
        causes = reduce(or_, [hit.dirt.causes for hit in hits])
        self._affected[causes].append(job.id)
        if causes & ~self._done.get(job.id, 0):
            direct = recomputed_for_sure(job, hits, whole)
            via = tuple([self._via(hit) for hit in hits])
            self._steps.append(Step(job.id, whole, direct, columns, row_filters(job, hits), via))

    def _via(self, hit: Hit) -> Via:
        dirt = hit.dirt
        from_job = None if hit.is_direct else self._lineage.producer(hit.dataset).id
        mapping = hit.edge.mapping if hit.edge else None
        causes = self._named(dirt.causes)
        return Via(hit.dataset, from_job, mapping, dirt.partitions, dirt.columns, causes)

    def _named(self, causes: Causes) -> tuple[UUID, ...]:
        if causes not in self._ids:
            self._ids[causes] = tuple(self._invalidations[i].id for i in _members(causes))
        return self._ids[causes]


_MANUAL = "it runs only when somebody asks for it"


def _has_unmapped(edge: Edge) -> bool:
    return bool(edge.unmapped)


def _nothing(invalidation: Invalidation) -> Pruned:
    detail = "no partition that it has or can have is in the scope of the invalidation"
    return Pruned(invalidation.dataset, None, "partitions", detail)


def _members(causes: Causes) -> Iterator[int]:
    while causes:
        lowest = causes & -causes
        yield lowest.bit_length() - 1
        causes ^= lowest


def _done(invalidations: Sequence[Invalidation]) -> dict[UUID, Causes]:
    """By job, the invalidations for which it has its tasks already."""
    done: dict[UUID, Causes] = {}
    for i, invalidation in enumerate(invalidations):
        for job in invalidation.processed_by:
            done[job] = done.get(job, 0) | 1 << i
    return done
