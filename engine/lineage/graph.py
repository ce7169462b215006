"""The lineage graph: the producer of each dataset, its readers, and their mappings.

Every dataset, even a source, has exactly one producing job, so the nodes of the graph are jobs.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from graphlib import CycleError
from itertools import chain, pairwise
from typing import Any, TypeVar
from uuid import UUID

import msgspec
import networkx as nx

from engine import partitions
from engine.errors import InvalidDag, UnknownName
from engine.lineage.columns import ColumnMap, column_maps
from engine.lineage.order import topological_order
from engine.model.dataset import Dataset
from engine.model.job import Job, JobInput
from engine.partitions import PartitionSpace
from engine.partitions.mapping.chain import chained_dimension

V = TypeVar("V")
_Key = tuple[str, str, str | bytes]
_Compiled = tuple[partitions.Mapping, frozenset[int]]


class Edge(msgspec.Struct, frozen=True, eq=False, gc=False):
    """One dataset as an input of one job; ``producer`` is the dataset's producing job.

    ``unmapped`` are the indexes of output dimensions to which no input dimension is mapped, so that
    all keys are meant. Static dimensions are excluded because they list all their keys.
    """

    dataset: UUID
    producer: Job
    job: UUID
    input: JobInput
    mapping: partitions.Mapping
    unmapped: frozenset[int]
    _reader: Job

    @property
    def is_self(self) -> bool:
        """True if the job reads earlier partitions of its own output."""
        return self.producer is self._reader

    @property
    def columns(self) -> tuple[ColumnMap | None, ...]:
        """One column map per output of the job, in the job's order.

        None: no column lineage is known, so the output counts as reading every column.
        """
        known = column_maps(self._reader.columns)
        return tuple([known.get((output, self.dataset)) for output in self._reader.outputs])


class _Node(msgspec.Struct, gc=False):
    """A dataset with its producer, the producer's index among the jobs, and its readers."""

    dataset: Dataset
    producer: Job
    index: int
    readers: list[Edge] = []


@dataclass(frozen=True, slots=True, eq=False)
class Lineage:
    """The datasets and jobs of an org, immutable and indexed for planning.

    ``order`` holds the jobs in topological order, and ``rank`` maps a job's id to its index in
    ``order``. ``ignores_failures``: some job ignores failures of an input. Keys are the integers of
    UUIDs, because an int hashes in C and a UUID in Python.
    """

    order: tuple[Job, ...]
    rank: Mapping[int, int]
    ignores_failures: bool
    _nodes: Mapping[int, _Node]
    """Keyed by the integer of the dataset's id."""
    _names: Mapping[str, Dataset]
    _inputs: Sequence[tuple[Edge, ...]]
    """Indexed by the rank of the job."""
    _self_edges: Mapping[int, Edge]
    """Keyed by the integer of the job's id."""
    _space: Callable[[str], PartitionSpace]

    @staticmethod
    def build(datasets: Iterable[Dataset], jobs: Iterable[Job]) -> Lineage:
        """Compile a lineage.

        Raises:
            InvalidDag: a dataset has two producers or none, a job reads a dataset that does not
                exist, or jobs form a cycle.
            InvalidPartition, InvalidMapping: a partitioning or mapping is invalid.
        """
        unordered = tuple(jobs)
        nodes = _nodes({dataset.id.int: dataset for dataset in datasets}, unordered)
        edges = _Edges(nodes, cache(_compile_space), [[] for _ in unordered])
        inputs = [edges.of(index, job) for index, job in enumerate(unordered)]
        indexes = _order(unordered, edges.dependents)
        order = tuple([unordered[index] for index in indexes])
        return Lineage(
            order=order,
            rank={job.id.int: rank for rank, job in enumerate(order)},
            _nodes=nodes,
            _names={node.dataset.name: node.dataset for node in nodes.values()},
            _inputs=[inputs[index] for index in indexes],
            ignores_failures=any(edge.input.ignores_failure for edge in chain(*inputs)),
            _self_edges={
                edge.job.int: edge for edges_in in inputs for edge in edges_in if edge.is_self
            },
            _space=edges.space,
        )

    def graph(self) -> nx.DiGraph[UUID]:
        """Build a graph with jobs as nodes and edges from each job to its direct dependents."""
        graph: nx.DiGraph[UUID] = nx.DiGraph()
        graph.add_nodes_from(job.id for job in self.order)
        edges = chain.from_iterable(self._inputs)
        graph.add_edges_from((edge.producer.id, edge.job) for edge in edges)
        return graph

    def dataset(self, dataset: UUID) -> Dataset:
        """Return the dataset with this id; raises UnknownName."""
        return self._node(dataset).dataset

    def find_dataset(self, dataset: UUID) -> Dataset | None:
        """Return the dataset with this id, or None if no current DAG produces it."""
        node = self._nodes.get(dataset.int)
        return node.dataset if node else None

    @property
    def dataset_names(self) -> Collection[str]:
        """Return the names of all datasets."""
        return self._names.keys()

    def has_dataset_named(self, name: str) -> bool:
        """Return True if a current DAG produces a dataset with this name."""
        return name in self._names

    def dataset_named(self, name: str) -> Dataset:
        """Return the dataset with this name; raises UnknownName."""
        return _known(self._names.get(name), "dataset", name)

    def job(self, job: UUID) -> Job:
        """Return the job with this id; raises UnknownName."""
        return self.order[_known(self.rank.get(job.int), "job", job)]

    def find_job(self, job: UUID) -> Job | None:
        """Return the job with this id, or None if no current DAG contains it."""
        rank = self.rank.get(job.int)
        return None if rank is None else self.order[rank]

    def producer(self, dataset: UUID) -> Job:
        """Return the producing job of the dataset; raises UnknownName."""
        return self._node(dataset).producer

    def readers(self, dataset: UUID) -> Sequence[Edge]:
        """Return the edges from the dataset to its readers."""
        node = self._nodes.get(dataset.int)
        return node.readers if node else ()

    def inputs(self, job: UUID) -> tuple[Edge, ...]:
        """Return the edges to the job from its inputs, in the job's order."""
        rank = self.rank.get(job.int)
        return () if rank is None else self._inputs[rank]

    def ignores_failure(self, reader: UUID, producer: UUID) -> bool:
        """Return True if a job ignores failures of all of its inputs from another job."""
        edges = [edge for edge in self.inputs(reader) if edge.producer.id == producer]
        return bool(edges) and all(edge.input.ignores_failure for edge in edges)

    def upstream_inputs(self, job: UUID) -> tuple[Edge, ...]:
        """Return the edges to the job, without the one from its own output.

        They alone determine which partitions a job has.
        """
        edges = self.inputs(job)
        return (
            edges if job.int not in self._self_edges else tuple(e for e in edges if not e.is_self)
        )

    def self_edge(self, job: UUID) -> Edge | None:
        """Return the edge by which a job reads its own earlier partitions, or None."""
        return self._self_edges.get(job.int)

    @property
    def has_chains(self) -> bool:
        """True if any job reads its own earlier partitions."""
        return bool(self._self_edges)

    def space(self, dataset: UUID) -> PartitionSpace:
        """Return the partition space of the dataset; raises UnknownName."""
        return self._space(self.dataset(dataset).partitioning)

    def job_space(self, job: Job) -> PartitionSpace:
        """Return the partition space shared by all outputs of a job."""
        return self.space(job.outputs[0])

    def _node(self, dataset: UUID) -> _Node:
        return _known(self._nodes.get(dataset.int), "dataset", dataset)


def _compile_space(partitioning: str) -> PartitionSpace:
    return PartitionSpace.from_spec(msgspec.json.decode(partitioning))


def _nodes(datasets: Mapping[int, Dataset], jobs: Iterable[Job]) -> dict[int, _Node]:
    nodes: dict[int, _Node] = {}
    for index, job in enumerate(jobs):
        if not job.outputs:
            raise InvalidDag(f"job {job.name!r} has no output; add one")
        for output in job.outputs:
            node = _Node(datasets[output.int], job, index)
            other = nodes.setdefault(output.int, node).producer
            if other is not job:
                raise InvalidDag(
                    f"dataset {node.dataset.name!r} is produced by two jobs, {other.name!r} and "
                    f"{job.name!r}; keep one of them"
                )
    for key in datasets.keys() - nodes.keys():
        raise InvalidDag(f"no job produces dataset {datasets[key].name!r}; add a job or a source")
    return nodes


@dataclass(frozen=True, slots=True)
class _Edges:
    """Builder of edges, which are also added to the readers of the input's node.

    ``dependents`` has, for each job by index, the indexes of its direct dependents. Equal mappings
    between equal spaces are compiled once.
    """

    nodes: Mapping[int, _Node]
    space: Callable[[str], PartitionSpace]
    dependents: list[list[int]]
    compiled: dict[_Key, _Compiled] = field(default_factory=dict)

    def of(self, index: int, job: Job) -> tuple[Edge, ...]:
        """Build the edges from a job's inputs, in the job's order."""
        target = self.nodes[job.outputs[0].int].dataset.partitioning
        edges = []
        for read in job.inputs:
            node = self.nodes.get(read.dataset.int)
            if node is None:
                raise InvalidDag(f"job {job.name!r} reads {read.name!r}, but no job produces it")
            key = node.dataset.partitioning, target, _text(read.mapping)
            mapping, unmapped = self.compiled.get(key) or self._compile(key, job, read)
            edge = Edge(read.dataset, node.producer, job.id, read, mapping, unmapped, job)
            edges.append(edge)
            node.readers.append(edge)
            if node.index != index or chained_dimension(mapping) is None:
                self.dependents[node.index].append(index)
        return tuple(edges)

    def _compile(self, key: _Key, job: Job, read: JobInput) -> _Compiled:
        where = f"job {job.name!r}, input {read.name!r}"
        spaces = self.space(key[0]), self.space(key[1])
        mapping = partitions.Mapping.from_spec(read.mapping, *spaces, where)
        self.compiled[key] = compiled = mapping, _unmapped(mapping)
        return compiled


def _text(mapping: Any) -> str | bytes:
    if isinstance(mapping, str):
        return mapping
    return msgspec.json.encode(mapping, order="deterministic")


def _unmapped(mapping: partitions.Mapping) -> frozenset[int]:
    determined = {link.target for link in mapping.links.links}
    dimensions = mapping.target.dimensions
    return frozenset(
        i
        for i, (_, dimension) in enumerate(dimensions)
        if i not in determined and not isinstance(dimension, partitions.StaticDimension)
    )


def _order(jobs: Sequence[Job], dependents: Sequence[Sequence[int]]) -> list[int]:
    try:
        return topological_order(dependents)
    except CycleError as error:
        cycle = [jobs[index].name for index in error.args[1]]
        path = ", ".join(f"{a!r} feeds {b!r}" for a, b in pairwise(cycle))
        raise InvalidDag(f"jobs form a cycle: {path}; break the cycle") from None


def _known(value: V | None, kind: str, key: object) -> V:
    if value is None:
        raise UnknownName(f"there is no {kind} {key!s} here; see the names with `knockon lineage`")
    return value
