"""Bounds of open-ended scopes: the extents of datasets.

An unmapped output dimension means all of its keys: `planes` are not partitioned, so a changed plane
touches every day of a daily output, meaning every known day: each that exists, or that an open task
will build. Static dimensions list their keys, and are meant in full.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from datetime import datetime
from functools import cache, reduce
from operator import and_
from uuid import UUID

from engine.lineage.graph import Edge, Lineage
from engine.model.job import Appears, Job
from engine.partitions import PartitionSet
from engine.planner.in_being import in_being
from engine.planner.lookup import MissingState, PartitionLookup

OpenEnds = Mapping[frozenset[int], PartitionSet]
"""Partition sets by the dimensions, by index, in which they are unbounded."""


class Extents:
    """Extents of datasets, each computed once; ``missing`` collects datasets that must be loaded.

    A missing dataset counts as empty at first, so that one pass finds everything to load.
    """

    def __init__(self, lineage: Lineage, known: PartitionLookup, now: datetime) -> None:
        self.missing: set[UUID] = set()
        self.missing_parts: dict[UUID, PartitionSet] = {}
        self.missing_unfinished: set[UUID] = set()
        self._lineage = lineage
        self._known = cache(known)
        self._known_among = known.among
        self._unfinished = known.unfinished
        self._now = now
        self._found: dict[UUID, PartitionSet] = {}
        self._dirty: dict[UUID, PartitionSet] = {}
        self._wholly_in_being: dict[tuple[int, Appears], PartitionSet] = {}

    def check_loaded(self) -> None:
        """Raise MissingState if anything must be loaded."""
        if self.missing or self.missing_parts or self.missing_unfinished:
            raise MissingState(self.missing, self.missing_parts, self.missing_unfinished)

    def of(self, dataset: UUID) -> PartitionSet:
        """Return the known partitions; for a dataset without any, those its inputs would give.

        The inputs of a manual job give nothing, because it runs on request only. Goes up to the
        sources with an explicit stack, as a lineage may be deeper than Python's.
        """
        stack = [dataset]
        while stack:
            top = stack.pop()
            edges = self._followed(top)
            if any(edge.dataset not in self._found for edge in edges):
                stack += [top, *(edge.dataset for edge in edges)]
            elif top not in self._found:
                self._found[top] = self._reached(top, edges)
        return self._found[dataset]

    def of_job(self, job: Job) -> PartitionSet:
        """Return the union of the extents of the job's outputs."""
        return PartitionSet.union([self.of(output) for output in job.outputs])

    def record_dirty(self, dataset: UUID, partitions: PartitionSet) -> None:
        """Count partitions that this plan makes dirty as known for `product`."""
        before = self._dirty.get(dataset)
        self._dirty[dataset] = partitions if before is None else before | partitions

    def product(self, job: Job) -> PartitionSet:
        """Return the partitions that all inputs of a job, each unbounded, reach together."""
        edges = list(self._lineage.upstream_inputs(job.id))
        inputs = [(edge, self.of(edge.dataset) | self._recorded(edge.dataset)) for edge in edges]
        return product([(edge, edge.mapping.down(extent, extent)) for edge, extent in inputs])

    def in_being(self, job: Job, partitions: PartitionSet) -> PartitionSet:
        """Return those of a job's partitions that are in being, given this plan's changes.

        Most of a wave shares one object, which is examined once.
        """
        examined = id(partitions), job.appears
        if examined in self._wholly_in_being:
            return partitions

        def changed_or_known(dataset: UUID, wanted: PartitionSet) -> PartitionSet:
            return self.known_among(dataset, wanted) | self._recorded(dataset)

        found = in_being(
            self._lineage, job, partitions, self._now, self.known_among, changed_or_known
        )
        if found is partitions and not job.is_source:
            self._wholly_in_being[examined] = partitions
        return found

    def _recorded(self, dataset: UUID) -> PartitionSet:
        return self._dirty.get(dataset, self._lineage.space(dataset).empty)

    def determining(self, job: Job) -> list[Edge]:
        """Return the edges that determine a job's partitions.

        Edges that map all dimensions are preferred, if there are any. A single-run job with finite
        bounds has all partitions within the bounds, whichever input exists.
        """
        inputs = list(self._lineage.upstream_inputs(job.id))
        if self._has_all_or_none(job):
            return inputs
        return [edge for edge in inputs if not edge.unmapped] or inputs

    def is_undetermined(self, job: Job) -> bool:
        """Return True if no input determines the output partitions: the first builds all it can."""
        return all(edge.unmapped for edge in self._lineage.upstream_inputs(job.id))

    def unmapped_by_all(self, job: Job) -> frozenset[int]:
        """Return the dimensions, by index, with keys given by bounds only and not by any input."""
        inputs = self._lineage.upstream_inputs(job.id)
        return frozenset.intersection(*(edge.unmapped for edge in inputs))

    def requested(self, dataset: UUID) -> PartitionSet:
        """Return the extent that a request for a dataset refers to, also if its job is manual."""
        job, extent = self._lineage.producer(dataset), self.of(dataset)
        if extent or not job.is_manual:
            return extent
        edges = self.determining(job)
        for edge in edges:
            self.of(edge.dataset)
        return self._reached(dataset, edges)

    def everything(self, dataset: UUID) -> PartitionSet:
        """Return the whole extent of a dataset.

        For a source without known partitions, finite bounds give the extent. A dataset made from
        inputs without partitions has none either.
        """
        space = self._lineage.space(dataset)
        if self._lineage.inputs(self._lineage.producer(dataset).id):
            return self.requested(dataset)
        if not space.dimensions:
            return space.universe
        return self.of(dataset) or (space.universe if space.universe.is_finite else space.empty)

    def known(self, dataset: UUID) -> PartitionSet:
        """Return the known partitions; empty if they must be loaded first."""
        try:
            return self._known(dataset)
        except MissingState as needed:
            self.missing |= needed.datasets
            return self._lineage.space(dataset).empty

    def known_among(self, dataset: UUID, wanted: PartitionSet) -> PartitionSet:
        """Return the known partitions in a set; empty if they must be loaded first."""
        try:
            return self._known_among(dataset, wanted)
        except MissingState as needed:
            self.missing |= needed.datasets
            for part, partitions in needed.parts.items():
                before = self.missing_parts.get(part)
                self.missing_parts[part] = partitions if before is None else before | partitions
            return self._lineage.space(dataset).empty

    def unfinished(self, dataset: UUID) -> PartitionSet:
        """Return the partitions of unfinished tasks; empty if they must be loaded first."""
        try:
            return self._unfinished(dataset)
        except MissingState as needed:
            self.missing_unfinished |= needed.unfinished
            return self._lineage.space(dataset).empty

    def known_of_job(self, job: Job) -> PartitionSet:
        """Return the union of the known partitions of the job's outputs."""
        return PartitionSet.union([self.known(output) for output in job.outputs])

    def _followed(self, dataset: UUID) -> list[Edge]:
        """Return the edges that give the extent of a dataset; none if partitions are known.

        Edges with unmapped dimensions are used only in the absence of others, and only as far as
        bounds make the result finite.
        """
        if dataset in self._found or self.known(dataset) or dataset in self.missing:
            return []
        job = self._lineage.producer(dataset)
        return [] if job.is_manual else self.determining(job)

    def _reached(self, dataset: UUID, edges: Sequence[Edge]) -> PartitionSet:
        reached = [
            edge.mapping.down(extent, extent)
            for edge, extent in ((edge, self._found[edge.dataset]) for edge in edges)
        ]
        if any(reached) and self._has_all_or_none(self._lineage.producer(dataset)):
            return self._in_being(dataset, self._lineage.space(dataset).universe)
        finite = [partitions for partitions in reached if partitions and partitions.is_finite]
        if edges and not finite:
            finite = [product(list(zip(edges, reached, strict=True)))]
        return self._in_being(dataset, PartitionSet.union([self.known(dataset), *finite]))

    def _in_being(self, dataset: UUID, partitions: PartitionSet) -> PartitionSet:
        """Return those partitions in being if the inputs had the partitions found for them."""

        def found_or_known(dataset: UUID, wanted: PartitionSet) -> PartitionSet:
            found = self._found.get(dataset)
            return self.known_among(dataset, wanted) if found is None else found

        job = self._lineage.producer(dataset)
        return in_being(self._lineage, job, partitions, self._now, self.known_among, found_or_known)

    def _has_all_or_none(self, job: Job) -> bool:
        return job.is_single_run and self._lineage.job_space(job).universe.is_finite


def product(reached: Sequence[tuple[Edge, PartitionSet]]) -> PartitionSet:
    """Return the partitions that several inputs reach together; none if unbounded too.

    An input that determines no unbounded dimension takes no part.
    """
    space = reached[0][1].space
    open_ends = unbounded_dimensions(space.universe)
    parts = [partitions for edge, partitions in reached if open_ends - edge.unmapped]
    if not open_ends or len(parts) < 2:
        return space.empty
    found = reduce(and_, parts)
    return found if found.is_finite else space.empty


def unbounded_dimensions(partitions: PartitionSet) -> frozenset[int]:
    """Return the dimensions, by index, in which a set is unbounded."""
    return frozenset(
        i for box in partitions.boxes for i, part in enumerate(box) if not part.is_finite
    )


def union_by_open_ends(sets: Iterable[PartitionSet]) -> OpenEnds:
    """Return the unions of the sets that are unbounded in the same dimensions.

    Only these can be united before `clamp_open_ends`, which gives a key left open and the same key
    listed different meanings.
    """
    alike: defaultdict[frozenset[int], list[PartitionSet]] = defaultdict(list)
    for partitions in sets:
        alike[unbounded_dimensions(partitions)].append(partitions)
    return {open_ends: PartitionSet.union(parts) for open_ends, parts in alike.items()}


def clamp_open_ends(partitions: PartitionSet, extent: Callable[[], PartitionSet]) -> PartitionSet:
    """Restrict partitions to keys within the extent in the dimensions in which they are unbounded.

    The extent is determined only if there is such a dimension.
    """
    open_ends = unbounded_dimensions(partitions)
    return clamp(partitions, open_ends, extent()) if open_ends else partitions


def clamp(
    partitions: PartitionSet, dimensions: Collection[int], extent: PartitionSet
) -> PartitionSet:
    """Restrict partitions to keys within the extent in the given dimensions."""
    universe = partitions.space.universe.boxes[0]
    boxes = (
        tuple(part if i in dimensions else universe[i] for i, part in enumerate(box))
        for box in extent.boxes
    )
    return partitions & PartitionSet.of(partitions.space, boxes)
