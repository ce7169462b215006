"""Datasets that a DAG can read: its own, and those of the other DAGs in its org."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import msgspec

from engine.errors import InvalidPartition
from engine.lineage.sql import NOTHING_DEFINED, Derived, UserDefined
from engine.model.dag import DagFile, JobSpec, Output
from engine.model.dag_dimensions import Dimensions
from engine.model.source_positions import Path, Problem, did_you_mean
from engine.partitions import PartitionSpace


@dataclass(frozen=True, slots=True, kw_only=True)
class CatalogEntry:
    """A dataset produced by a current DAG of the org.

    ``inputs`` are the inputs of the producing job: (dataset, resolved mapping). ``partitioning`` is
    JSON text; ``columns`` is None if undeclared. ``captured_table`` is the table from which changes
    of a source are captured.
    """

    name: str
    dag_name: str
    job_name: str
    partitioning: str = "{}"
    columns: tuple[str, ...] | None = None
    inputs: tuple[tuple[str, Any], ...] = ()
    storage: Mapping[str, Any] = field(default_factory=dict)
    is_source: bool = False
    captured_table: str | None = None

    @property
    def space(self) -> PartitionSpace:
        """The partition space of the dataset."""
        return space_of(self.partitioning)


@dataclass(frozen=True, slots=True)
class Readable:
    """Partition space and columns of a readable dataset.

    ``table`` lists the columns, including partition columns; ``columns`` adds the names of the
    dimensions, which are accepted in place of the partition columns.
    """

    space: PartitionSpace
    table: tuple[str, ...] | None

    @staticmethod
    def of(space: PartitionSpace, columns: Iterable[str] | None) -> "Readable":
        """Build an entry from the dataset's columns (None: unknown)."""
        if columns is None:
            return Readable(space, None)
        return Readable(space, tuple(dict.fromkeys([*columns, *partition_columns(space)])))

    @property
    def columns(self) -> frozenset[str] | None:
        """Names allowed in column lineage."""
        return None if self.table is None else frozenset((*self.table, *self.space.names))


@dataclass(frozen=True, slots=True)
class DagContext:
    """A DAG together with the other DAGs of its org.

    ``catalog`` has the datasets of the other DAGs, ``output_paths`` the path of the first output
    that produces each of the DAG's own datasets, and ``readable`` all datasets of both with a valid
    partitioning; ``problems`` reports the invalid ones. ``derived`` has the columns and lineage
    derived from the jobs' SQL. ``user_defined`` are the database functions outside pg_catalog.
    """

    dag: DagFile
    catalog: Mapping[str, CatalogEntry]
    output_paths: Mapping[str, Path]
    readable: Mapping[str, Readable]
    problems: tuple[Problem, ...]
    derived: Mapping[str, Derived] = field(default_factory=dict)
    user_defined: UserDefined = NOTHING_DEFINED

    @staticmethod
    def of(
        dag: DagFile,
        catalog: Mapping[str, CatalogEntry],
        user_defined: UserDefined = NOTHING_DEFINED,
    ) -> "DagContext":
        """Compile the partitioning of every dataset in the DAG and the catalog."""
        others = {name: entry for name, entry in catalog.items() if entry.dag_name != dag.dag}
        output_paths: dict[str, Path] = {}
        readable = {name: Readable.of(e.space, e.columns) for name, e in others.items()}
        problems = []
        for path, _, output in outputs(dag):
            output_paths.setdefault(output.dataset, path)
            try:
                readable[output.dataset] = Readable.of(_space(dag, output), output.column_names)
            except InvalidPartition as error:
                readable.pop(output.dataset, None)
                problems.append(Problem((*path, "partitioning"), str(error)))
        return DagContext(
            dag, others, output_paths, readable, tuple(problems), user_defined=user_defined
        )

    @property
    def has_database(self) -> bool:
        """True unless files are checked without a database, and so without its DAGs."""
        return self.user_defined is not NOTHING_DEFINED

    @property
    def datasets(self) -> set[str]:
        """The names of all datasets in the DAG and the catalog."""
        return {*self.catalog, *self.output_paths}

    def space(self, dataset: str) -> PartitionSpace:
        """Return the partition space of a readable dataset."""
        return self.readable[dataset].space


def outputs(dag: DagFile) -> Iterator[tuple[Path, JobSpec, Output]]:
    """Iterate over all outputs in file order, each with its path and job."""
    for j, job in enumerate(dag.jobs):
        for o, output in enumerate(job.outputs):
            yield ("jobs", j, "outputs", o), job, output


@lru_cache(maxsize=4096)
def space_of(partitioning: str) -> PartitionSpace:
    """Return the partition space for a specification in JSON text."""
    return PartitionSpace.from_spec(msgspec.json.decode(partitioning))


def partition_columns(space: PartitionSpace) -> Iterator[str]:
    """Iterate over the columns in which the dimensions are stored."""
    return (dimension.column or name for name, dimension in space.dimensions)


def _space(dag: DagFile, output: Output) -> PartitionSpace:
    dimensions = _dimensions(dag, output).items()
    spec = {name: dimension.model_dump(exclude_none=True) for name, dimension in dimensions}
    return space_of(msgspec.json.encode(spec).decode())


def _dimensions(dag: DagFile, output: Output) -> Dimensions:
    try:
        return dag.dimensions(output)
    except KeyError:
        hint = did_you_mean(str(output.partitioning), dag.partitionings)
        raise InvalidPartition(
            f"partitionings has no entry {output.partitioning!r}: add it{hint}"
        ) from None
