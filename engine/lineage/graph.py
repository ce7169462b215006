"""The lineage: which job makes each dataset, which jobs read it, and how.

Every dataset has exactly one producing job, sources too, so that jobs alone make up the graph.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from graphlib import CycleError, TopologicalSorter
from itertools import pairwise
from typing import TypeVar
from uuid import UUID

import msgspec
import networkx as nx

from engine import partitions
from engine.errors import InvalidDag, UnknownName
from engine.lineage.columns import ColumnMap, column_maps
from engine.model.dataset import Dataset
from engine.model.job import Job, JobInput
from engine.partitions import PartitionSpace

K = TypeVar("K")
V = TypeVar("V")
ColumnEdge = tuple[UUID, str, UUID, str]
"""(output dataset, output column, input dataset, input column)."""


@dataclass(frozen=True, slots=True, eq=False)
class Edge:
    """One dataset as one job reads it.

    ``columns`` has an entry for each output of the job, in the job's order: None where no column
    lineage is known, so that the output counts as reading everything. ``loose`` are the output's
    dimensions, by index, that no dimension of the input determines and that have no list of keys:
    what lies there has no end of its own.
    """

    dataset: UUID
    job: UUID
    input: JobInput
    mapping: partitions.Mapping
    loose: frozenset[int]
    columns: tuple[ColumnMap | None, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Lineage:
    """Everything that planning needs to know of the datasets and jobs; it never changes.

    ``order`` holds the jobs so that each comes after those it reads from, and ``rank`` is a job's
    place in it.
    """

    order: tuple[Job, ...]
    rank: Mapping[UUID, int]
    _datasets: Mapping[UUID, Dataset]
    _names: Mapping[str, UUID]
    _jobs: Mapping[UUID, Job]
    _producers: Mapping[UUID, Job]
    _readers: Mapping[UUID, tuple[Edge, ...]]
    _inputs: Mapping[UUID, tuple[Edge, ...]]
    _space: Callable[[str], PartitionSpace]

    @staticmethod
    def build(
        datasets: Iterable[Dataset], jobs: Iterable[Job], columns: Iterable[ColumnEdge]
    ) -> Lineage:
        """Compile a lineage.

        Raises:
            InvalidDag: two jobs make one dataset, none makes it, a job reads what is not there,
                or jobs wait for each other in a circle.
            InvalidPartition, InvalidMapping: a partitioning or mapping that does not hold.
        """
        by_id = {dataset.id: dataset for dataset in datasets}
        jobs_by_id = {job.id: job for job in jobs}
        producers = _producers(by_id, jobs_by_id.values())
        space = cache(_compile_space)
        edges = _edges(by_id, jobs_by_id.values(), columns, space)
        order = _order(jobs_by_id, producers, edges)
        return Lineage(
            order=order,
            rank={job.id: rank for rank, job in enumerate(order)},
            _datasets=by_id,
            _names={dataset.name: dataset.id for dataset in by_id.values()},
            _jobs=jobs_by_id,
            _producers=producers,
            _readers=_grouped(edges, lambda edge: edge.dataset),
            _inputs=_grouped(edges, lambda edge: edge.job),
            _space=space,
        )

    def graph(self) -> nx.DiGraph[UUID]:
        """Make a graph with the jobs as nodes, and an edge from each to every job that reads it."""
        graph: nx.DiGraph[UUID] = nx.DiGraph()
        graph.add_nodes_from(self._jobs)
        edges = (edge for read in self._inputs.values() for edge in read)
        graph.add_edges_from((self.producer(edge.dataset).id, edge.job) for edge in edges)
        return graph

    def dataset(self, dataset: UUID) -> Dataset:
        """The dataset; raises UnknownName."""
        return _found(self._datasets, dataset, "dataset")

    def find_dataset(self, dataset: UUID) -> Dataset | None:
        """The dataset, or None where no served DAG makes it."""
        return self._datasets.get(dataset)

    def dataset_named(self, name: str) -> Dataset:
        """The dataset of a name; raises UnknownName."""
        return self._datasets[_found(self._names, name, "dataset")]

    def job(self, job: UUID) -> Job:
        """The job; raises UnknownName."""
        return _found(self._jobs, job, "job")

    def capped_jobs(self) -> list[Job]:
        """The jobs that may only run so many tasks at once."""
        return [job for job in self._jobs.values() if job.max_concurrency is not None]

    def producer(self, dataset: UUID) -> Job:
        """The one job that makes the dataset; raises UnknownName."""
        return _found(self._producers, dataset, "dataset")

    def readers(self, dataset: UUID) -> tuple[Edge, ...]:
        """The edges over which the dataset is read."""
        return self._readers.get(dataset, ())

    def inputs(self, job: UUID) -> tuple[Edge, ...]:
        """The edges over which the job reads, in the job's order."""
        return self._inputs.get(job, ())

    def space(self, dataset: UUID) -> PartitionSpace:
        """The partitions that the dataset can have; raises UnknownName."""
        return self._space(self.dataset(dataset).partitioning)

    def job_space(self, job: Job) -> PartitionSpace:
        """The partitions that a job can make: all its outputs have the same ones."""
        return self.space(job.outputs[0])


def _compile_space(partitioning: str) -> PartitionSpace:
    return PartitionSpace.from_spec(msgspec.json.decode(partitioning))


def _producers(datasets: Mapping[UUID, Dataset], jobs: Iterable[Job]) -> dict[UUID, Job]:
    producers: dict[UUID, Job] = {}
    for job in jobs:
        if not job.outputs:
            raise InvalidDag(f"job {job.name!r} makes no dataset; give it an output")
        for output in job.outputs:
            other = producers.setdefault(output, job)
            if other is not job:
                raise InvalidDag(
                    f"dataset {datasets[output].name!r} is made by two jobs, {other.name!r} and "
                    f"{job.name!r}; keep one of them"
                )
    for dataset in datasets.values():
        if dataset.id not in producers:
            raise InvalidDag(f"no job makes dataset {dataset.name!r}; add one, or a source")
    return producers


def _edges(
    datasets: Mapping[UUID, Dataset],
    jobs: Iterable[Job],
    columns: Iterable[ColumnEdge],
    space: Callable[[str], PartitionSpace],
) -> list[Edge]:
    # A UUID hashes in Python, its integer in C: that counts with a million rows.
    mapped = column_maps(((read.int, made.int), to, by) for made, to, read, by in columns)
    compiled: dict[tuple[str, str, bytes], tuple[partitions.Mapping, frozenset[int]]] = {}

    def mapping(job: Job, read: JobInput) -> tuple[partitions.Mapping, frozenset[int]]:
        source, target = datasets[read.dataset].partitioning, datasets[job.outputs[0]].partitioning
        key = source, target, msgspec.json.encode(read.mapping, order="deterministic")
        if key not in compiled:
            where = f"job {job.name!r}, input {read.name!r}"
            made = partitions.Mapping.from_spec(read.mapping, space(source), space(target), where)
            compiled[key] = made, _loose(made)
        return compiled[key]

    def edge(job: Job, read: JobInput) -> Edge:
        if read.dataset not in datasets:
            raise InvalidDag(f"job {job.name!r} reads {read.name!r}, which no job makes")
        by_output = tuple([mapped.get((read.dataset.int, output.int)) for output in job.outputs])
        return Edge(read.dataset, job.id, read, *mapping(job, read), by_output)

    return [edge(job, read) for job in jobs for read in job.inputs]


def _loose(mapping: partitions.Mapping) -> frozenset[int]:
    determined = {link.target for link in mapping.links.links}
    dimensions = mapping.target.dimensions
    return frozenset(
        i
        for i, (_, dimension) in enumerate(dimensions)
        if i not in determined and not isinstance(dimension, partitions.StaticDimension)
    )


def _order(
    jobs: Mapping[UUID, Job], producers: Mapping[UUID, Job], edges: Iterable[Edge]
) -> tuple[Job, ...]:
    listed = tuple(jobs.values())
    places = {job.id.int: place for place, job in enumerate(listed)}
    fronts: dict[int, list[int]] = {place: [] for place in range(len(listed))}
    for edge in edges:
        fronts[places[edge.job.int]].append(places[producers[edge.dataset].id.int])
    try:
        return tuple([listed[place] for place in TopologicalSorter(fronts).static_order()])
    except CycleError as error:
        circle = [listed[place].name for place in error.args[1]]
        path = ", ".join(f"{a!r} feeds {b!r}" for a, b in pairwise(circle))
        raise InvalidDag(f"jobs wait for each other in a circle: {path}; break it") from None


def _grouped(edges: Iterable[Edge], key: Callable[[Edge], UUID]) -> dict[UUID, tuple[Edge, ...]]:
    groups: dict[UUID, list[Edge]] = {}
    for edge in edges:
        groups.setdefault(key(edge), []).append(edge)
    return {owner: tuple(group) for owner, group in groups.items()}


def _found(values: Mapping[K, V], key: K, kind: str) -> V:
    found = values.get(key)
    if found is None:
        raise UnknownName(f"there is no {kind} {key!s} here; see the names with `knockon lineage`")
    return found
