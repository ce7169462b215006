"""Compilation of a DAG file into a DAG version, checked against all other DAGs of the org."""

from collections.abc import Iterable, Iterator, Mapping

import msgspec

from engine import partitions
from engine.lineage.catalog import CatalogEntry, DagContext, outputs
from engine.lineage.check_graph import check_graph
from engine.lineage.check_job import check_job
from engine.lineage.check_secrets import check_secrets
from engine.lineage.check_tables import check_tables
from engine.lineage.columns import NO_COLUMN
from engine.lineage.compiled import (
    CompiledColumn,
    CompiledDag,
    CompiledDataset,
    CompiledInput,
    CompiledJob,
    CompiledNote,
)
from engine.lineage.definition import definition_hash, hash_of
from engine.lineage.derive import with_derived
from engine.lineage.self_read import mapping_spec
from engine.lineage.sql import NOTHING_DEFINED, Derived, Read, Reads, UserDefined
from engine.model.dag import After, DagFile, Input, JobSpec, Output
from engine.model.dag_fields import EVERY_COLUMN
from engine.model.job import AllBut, Appearance, Appears, Awaited, WaitFor
from engine.model.source_positions import Problem
from engine.model.states import Activation

_SOURCE_OPERATOR = "source"


def compile_dag(
    dag: DagFile,
    catalog: Mapping[str, CatalogEntry],
    user_defined: UserDefined = NOTHING_DEFINED,
) -> CompiledDag:
    """Resolve and check a DAG file.

    ``catalog`` holds the datasets of the org's current DAGs by name; datasets of an earlier version
    of this DAG are ignored. ``user_defined`` are the functions and operators of the database;
    without a database, none are assumed. Raises InvalidDag with every problem, one per line, as
    `parse_dag` does.
    """
    context = with_derived(DagContext.of(dag, catalog, user_defined))
    if problems := list(_problems(context)):
        raise dag.source_map.error(problems)
    pairs = [_compile_job(job, context) for job in dag.jobs]
    columns = tuple(sorted(set(_columns(context))))
    return CompiledDag(
        name=dag.dag,
        description=dag.description,
        file=dag.written,
        content_hash=_content_hash(context, columns),
        jobs=tuple(job for job, _ in pairs),
        datasets=tuple(dataset for _, datasets in pairs for dataset in datasets),
        columns=columns,
        notes=tuple(_notes(context)),
    )


def _problems(context: DagContext) -> Iterator[Problem]:
    yield from context.problems
    for j, job in enumerate(context.dag.jobs):
        yield from check_job(job, ("jobs", j), context)
        yield from check_secrets(job, ("jobs", j))
    yield from check_graph(context)
    yield from check_tables(context)


def _compile_job(
    spec: JobSpec, context: DagContext
) -> tuple[CompiledJob, tuple[CompiledDataset, ...]]:
    """Compile a job and its datasets, all with the hash of everything that affects the output."""
    job = _unhashed_job(spec, context)
    datasets = tuple(_unhashed_dataset(spec, o, context) for o in range(len(spec.outputs)))
    config_hash = definition_hash(job, datasets)
    return (
        msgspec.structs.replace(job, config_hash=config_hash),
        tuple(msgspec.structs.replace(dataset, config_hash=config_hash) for dataset in datasets),
    )


def _unhashed_job(spec: JobSpec, context: DagContext) -> CompiledJob:
    return CompiledJob(
        name=spec.name,
        description=spec.description,
        activation=spec.activation,
        runtime=spec.runtime,
        operator=spec.operator if spec.activation != Activation.SOURCE else _SOURCE_OPERATOR,
        source=spec.source.model_dump(mode="json", exclude_none=True) if spec.source else None,
        execution_strategy=spec.execution_strategy,
        update_strategy=spec.update_strategy,
        unique_key=spec.unique_key,
        inputs=tuple(_input(job_input, spec, context) for job_input in spec.inputs),
        outputs=tuple(output.dataset for output in spec.outputs),
        config=spec.config,
        config_hash="",
        scaling=spec.scaling.model_dump(exclude_defaults=True),
        timeout_seconds=spec.timeout,
        heartbeat_timeout_seconds=spec.heartbeat_timeout,
        max_attempts=spec.max_attempts,
        idle_timeout=f"{spec.idle_timeout}s" if spec.idle_timeout else None,
        accepts_reported_lineage=tuple(
            output.dataset for output in spec.outputs if output.column_lineage
        ),
        version=spec.version,
        appears=_appears(spec.outputs[0]),
        code=None if spec.version is not None else spec.code,
    )


def _input(spec: Input, job: JobSpec, context: DagContext) -> CompiledInput:
    source, target = context.space(spec.dataset), context.space(job.outputs[0].dataset)
    return CompiledInput(
        dataset=spec.dataset,
        alias=spec.alias,
        mapping=partitions.Mapping.from_spec(mapping_spec(spec, source), source, target).to_spec(),
        wait_for=_wait_for(spec),
        cursor=spec.cursor.model_dump() if spec.cursor else None,
        preserved_columns=_preserved_columns(spec, job, context) or None,
        ignores_failure=spec.on_failure == "ignore",
    )


def _wait_for(spec: Input) -> WaitFor:
    match spec.wait_for:
        case int(number):
            return number
        case str(text):
            return Awaited(text)
        case exception:
            return AllBut(exception.all_but)


def _appears(output: Output) -> Appears:
    """Return the rule of a job's output, equal for all of its outputs."""
    if isinstance(output.appears, After):
        return output.appears.after
    return 0 if output.appears == "end" else Appearance(output.appears)


def _preserved_columns(
    spec: Input, job: JobSpec, context: DagContext
) -> dict[str, tuple[str, ...]]:
    """Return the columns declared in the file, or else those common to all outputs' SQL."""
    if spec.passes is not None:
        return spec.passes
    pairs = [
        {
            (read.column, name)
            for name, reads in derivation.preserved_columns.items()
            for read in reads
            if read.alias == spec.alias
        }
        for derivation in _derivations(job, context)
    ]
    if len(pairs) < len(job.outputs):
        return {}
    preserved: dict[str, tuple[str, ...]] = {}
    for column, name in sorted(set.intersection(*pairs)):
        preserved[column] = (*preserved.get(column, ()), name)
    return preserved


def _derivations(job: JobSpec, context: DagContext) -> list[Derived]:
    """Return the derived lineage of the job's outputs, without outputs that have none."""
    derived = (context.derived.get(output.dataset) for output in job.outputs)
    return [derivation for derivation in derived if derivation is not None]


def _unhashed_dataset(job: JobSpec, index: int, context: DagContext) -> CompiledDataset:
    output: Output = job.outputs[index]
    derived = context.derived.get(output.dataset)
    named = output.column_names
    return CompiledDataset(
        name=output.dataset,
        job=job.name,
        index=index,
        storage=output.storage,
        read_roles=output.read_roles,
        partitioning=msgspec.json.encode(context.space(output.dataset).to_spec()).decode(),
        columns=derived.columns if derived and named is None else named,
        # Derived names are left out, so that an improved derivation does not make data stale.
        schema_hash=None if named is None else hash_of(sorted(named)),
        config_hash="",
        debounce=None if output.debounce is None else output.debounce.model_dump(),
    )


def _content_hash(context: DagContext, columns: tuple[CompiledColumn, ...]) -> str:
    """Hash the file, the partitionings of its inputs in other DAGs, and columns with lineage."""
    read = {job_input.dataset for job in context.dag.jobs for job_input in job.inputs}
    partitionings = {
        name: entry.partitioning for name, entry in context.catalog.items() if name in read
    }
    names = {name: derived.columns for name, derived in context.derived.items()}
    return hash_of([context.dag.content_hash(), partitionings, names, columns])


def _notes(context: DagContext) -> Iterator[CompiledNote]:
    for path, job, output in outputs(context.dag):
        derived = context.derived.get(output.dataset)
        if derived is not None and derived.note is not None:
            by_output = (output.dataset,) if isinstance(job.config.get("sql"), dict) else ()
            at = (*path[:2], "config", "sql", *by_output)
            position = context.dag.source_map.line_in(at, derived.line or 1)
            yield CompiledNote(
                job=job.name, dataset=output.dataset, text=derived.note, position=position
            )


def _columns(context: DagContext) -> Iterator[CompiledColumn]:
    for _, job, output in outputs(context.dag):
        derived = context.derived.get(output.dataset)
        if output.lineage is not None:
            yield from _rows(job, output, _declared_pairs(job, output.lineage))
        elif derived is not None and derived.lineage is not None:
            yield from _rows(job, output, _derived_pairs(job, derived.lineage, context))


_Pair = tuple[str, Read]
"""An output column, and an input column read by it."""


def _declared_pairs(job: JobSpec, lineage: Mapping[str, tuple[str, ...]]) -> list[_Pair]:
    """Expand declared lineage; an input without a reference counts as read entirely."""
    pairs = [
        (column, Read(*reference.split(".", 1)))
        for column, references in lineage.items()
        for reference in references
    ]
    return [*pairs, *((EVERY_COLUMN, Read(alias, EVERY_COLUMN)) for alias in _unread(job, pairs))]


def _derived_pairs(job: JobSpec, lineage: Mapping[str, Reads], context: DagContext) -> list[_Pair]:
    """Expand derived lineage; an input in a FROM without column references reads no column.

    An input that appears in no SELECT of the job serves as a trigger, and counts as read entirely.
    """
    pairs = [(column, read) for column, reads in lineage.items() for read in reads]
    derivations = _derivations(job, context)
    named = frozenset[str]().union(*(derivation.named for derivation in derivations))
    columns = {
        alias: NO_COLUMN if alias in named else EVERY_COLUMN for alias in _unread(job, pairs)
    }
    return [*pairs, *((EVERY_COLUMN, Read(alias, column)) for alias, column in columns.items())]


def _unread(job: JobSpec, pairs: Iterable[_Pair]) -> list[str]:
    read = {reference.alias for _, reference in pairs}
    return [job_input.alias for job_input in job.inputs if job_input.alias not in read]


def _rows(job: JobSpec, output: Output, pairs: Iterable[_Pair]) -> Iterator[CompiledColumn]:
    datasets = {job_input.alias: job_input.dataset for job_input in job.inputs}
    for column, read in pairs:
        yield CompiledColumn(
            job=job.name,
            output_dataset=output.dataset,
            output_column=column,
            input_dataset=datasets[read.alias],
            input_column=read.column,
        )
