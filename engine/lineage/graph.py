"""The lineage: which job makes each dataset, which jobs read it, and how.

Every dataset has exactly one producing job, sources too, so that jobs alone make up the graph.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from graphlib import CycleError
from itertools import chain, pairwise
from typing import TypeVar
from uuid import UUID

import msgspec
import networkx as nx

from engine import partitions
from engine.errors import InvalidDag, UnknownName
from engine.lineage.columns import ColumnMap, column_maps
from engine.lineage.order import parents_first
from engine.model.dataset import Dataset
from engine.model.job import Job, JobInput
from engine.partitions import PartitionSpace

K = TypeVar("K")
V = TypeVar("V")
_Compiled = tuple[partitions.Mapping, frozenset[int]]


class Edge(msgspec.Struct, frozen=True, eq=False, gc=False):
    """One dataset as one job reads it.

    ``unmapped`` are the output's dimensions, by index, that no dimension of the input is mapped to,
    where all keys are meant; not static ones, for they list all their keys.
    """

    dataset: UUID
    job: UUID
    input: JobInput
    mapping: partitions.Mapping
    unmapped: frozenset[int]
    _reader: Job

    @property
    def columns(self) -> tuple[ColumnMap | None, ...]:
        """An entry for each output of the job, in the job's order.

        None where no column lineage is known, so that the output counts as reading everything.
        """
        known = column_maps(self._reader.columns)
        return tuple([known.get((output, self.dataset)) for output in self._reader.outputs])


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
    def build(datasets: Iterable[Dataset], jobs: Iterable[Job]) -> Lineage:
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
        edges = _Edges(by_id, space)
        inputs = {job.id: edges.of(job) for job in jobs_by_id.values() if job.inputs}
        order = _order(tuple(jobs_by_id.values()))
        return Lineage(
            order=order,
            rank={job.id: rank for rank, job in enumerate(order)},
            _datasets=by_id,
            _names={dataset.name: dataset.id for dataset in by_id.values()},
            _jobs=jobs_by_id,
            _producers=producers,
            _readers=_readers(inputs.values()),
            _inputs=inputs,
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


@dataclass(frozen=True, slots=True)
class _Edges:
    """Makes edges; equal mappings between equal spaces are compiled once."""

    datasets: Mapping[UUID, Dataset]
    space: Callable[[str], PartitionSpace]
    compiled: dict[tuple[str, str, str | bytes], _Compiled] = field(default_factory=dict)

    def of(self, job: Job) -> tuple[Edge, ...]:
        """The job's edges, in its order."""
        target = self.datasets[job.outputs[0]].partitioning
        return tuple(
            [
                Edge(read.dataset, job.id, read, *self._mapping(job, read, target), job)
                for read in job.inputs
            ]
        )

    def _mapping(self, job: Job, read: JobInput, target: str) -> _Compiled:
        dataset, said = self.datasets.get(read.dataset), read.mapping
        if dataset is None:
            raise InvalidDag(f"job {job.name!r} reads {read.name!r}, which no job makes")
        text = said if isinstance(said, str) else msgspec.json.encode(said, order="deterministic")
        key = dataset.partitioning, target, text
        if key not in self.compiled:
            where = f"job {job.name!r}, input {read.name!r}"
            spaces = self.space(dataset.partitioning), self.space(target)
            made = partitions.Mapping.from_spec(said, *spaces, where)
            self.compiled[key] = made, _unmapped(made)
        return self.compiled[key]


def _unmapped(mapping: partitions.Mapping) -> frozenset[int]:
    determined = {link.target for link in mapping.links.links}
    dimensions = mapping.target.dimensions
    return frozenset(
        i
        for i, (_, dimension) in enumerate(dimensions)
        if i not in determined and not isinstance(dimension, partitions.StaticDimension)
    )


def _order(jobs: Sequence[Job]) -> tuple[Job, ...]:
    # A UUID hashes in Python, its integer in C.
    places = {output.int: place for place, job in enumerate(jobs) for output in job.outputs}
    fronts = [[places[read.dataset.int] for read in job.inputs] for job in jobs]
    try:
        return tuple([jobs[place] for place in parents_first(fronts)])
    except CycleError as error:
        circle = [jobs[place].name for place in error.args[1]]
        path = ", ".join(f"{a!r} feeds {b!r}" for a, b in pairwise(circle))
        raise InvalidDag(f"jobs wait for each other in a circle: {path}; break it") from None


def _readers(inputs: Iterable[Sequence[Edge]]) -> dict[UUID, tuple[Edge, ...]]:
    readers: dict[UUID, list[Edge]] = {}
    for edge in chain.from_iterable(inputs):
        readers.setdefault(edge.dataset, []).append(edge)
    return {dataset: tuple(edges) for dataset, edges in readers.items()}


def _found(values: Mapping[K, V], key: K, kind: str) -> V:
    found = values.get(key)
    if found is None:
        raise UnknownName(f"there is no {kind} {key!s} here; see the names with `knockon lineage`")
    return found
