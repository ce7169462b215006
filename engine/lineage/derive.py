"""Columns and column lineage of datasets, derived from the SQL of a DAG's jobs."""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from graphlib import CycleError, TopologicalSorter

from engine.lineage.catalog import DagContext, Readable, outputs, partition_columns
from engine.lineage.columns import EVERY
from engine.lineage.self_read import datasets_of_others, is_self_read
from engine.lineage.sql import Derived, Relation, UserDefined, derive, preserved_columns
from engine.model.dag import Input, JobSpec, Output
from engine.model.job import LOCAL
from engine.model.states import Activation, UpdateStrategy
from engine.partitions import PartitionSpace, RangeDimension, TimeDimension

_PARTITION = "knockon_partition"
_OTHER_DIALECT = (
    "its columns are not derived: SQL is read in PostgreSQL's dialect, and runtime {0!r} may run "
    "another; it counts as reading everything unless `columns` declares what each one comes from"
)


def with_derived(context: DagContext) -> DagContext:
    """Derive columns and lineage not declared in the file, upstream datasets first.

    Derived columns of a dataset are available to the derivation of its readers.
    """
    producers = {output.dataset: (job, output) for _, job, output in outputs(context.dag)}
    readable, derived = dict(context.readable), dict(context.derived)
    for dataset in _topological_order(context):
        job, output = producers[dataset]
        # A job that reads its own output reads the columns that the first pass derives.
        for _ in range(2 if any(is_self_read(job, read) for read in job.inputs) else 1):
            derivation = _derived(job, output, readable, context.user_defined)
            if derivation is None:
                break
            derived[dataset] = derivation
            if output.columns is None:
                readable[dataset] = Readable.of(readable[dataset].space, derivation.columns)
    return replace(context, readable=readable, derived=derived)


def _topological_order(context: DagContext) -> list[str]:
    """Return the file's datasets in topological order; empty for a cycle, rejected elsewhere."""
    upstream = {
        output.dataset: [name for name in datasets_of_others(job) if name in context.output_paths]
        for _, job, output in outputs(context.dag)
    }
    try:
        return list(TopologicalSorter(upstream).static_order())
    except CycleError:
        return []


def _derived(
    job: JobSpec, output: Output, readable: Mapping[str, Readable], user_defined: UserDefined
) -> Derived | None:
    """Derive one output from its SELECT.

    None if there is no SQL, lineage is declared, or the output or an input is not readable.
    """
    text = _select_of(job, output)
    names = [output.dataset, *(job_input.dataset for job_input in job.inputs)]
    if text is None or output.lineage is not None or not readable.keys() >= set(names):
        return None
    if job.runtime != LOCAL:
        return Derived(note=_OTHER_DIALECT.format(job.runtime))
    space = readable[output.dataset].space
    inputs = {
        job_input.alias: _input(job_input, readable[job_input.dataset]) for job_input in job.inputs
    }
    run_partition = {_PARTITION: _partition(space)}
    derivation = derive(text, inputs, run_partition, user_defined)
    if derivation.lineage is None:
        return derivation
    known = {job_input.alias: readable[job_input.dataset].table for job_input in job.inputs}
    others = {_PARTITION: ["key", *_dimension_columns(space)]}
    kept = preserved_columns(text, known, others, user_defined)
    return replace(_as_written(derivation, job, space), preserved_columns=kept)


def _select_of(job: JobSpec, output: Output) -> str | None:
    if job.operator != "sql" or job.activation == Activation.SOURCE:
        return None
    value = job.config.get("sql")
    text = value.get(output.dataset) if isinstance(value, dict) else value
    return text if isinstance(text, str) else None


def _input(read: Input, readable: Readable) -> Relation:
    """Return an input as read by the operator: the rows of some partitions, or past a cursor."""
    cursor = [read.cursor.column] if read.cursor else []
    shaped_by = [*partition_columns(readable.space), *readable.space.names, *cursor]
    return Relation.of_input(read.alias, readable.table, shaped_by)


def _partition(space: PartitionSpace) -> Relation:
    """Return the relation with the run's partition, which depends on no input."""
    return Relation(tuple((name, frozenset()) for name in ("key", *_dimension_columns(space))))


def _dimension_columns(space: PartitionSpace) -> Iterator[str]:
    for name, dimension in space.dimensions:
        yield name
        if isinstance(dimension, TimeDimension | RangeDimension):
            yield from (f"{name}_start", f"{name}_end")


def _as_written(derived: Derived, job: JobSpec, space: PartitionSpace) -> Derived:
    """Add the operator's effects: partition columns, and placement of rows by them and by a key."""
    columns, lineage = derived.columns, derived.lineage
    partitioned_by = tuple(partition_columns(space))
    if columns is not None:
        columns = tuple(dict.fromkeys((*columns, *partitioned_by)))
    if lineage is not None:
        merged_by = job.unique_key if job.update_strategy == UpdateStrategy.APPEND else ()
        keys = (lineage.get(column, frozenset()) for column in (*partitioned_by, *merged_by))
        lineage = {**lineage, EVERY: lineage[EVERY].union(*keys)}
    return replace(derived, columns=columns, lineage=lineage)
