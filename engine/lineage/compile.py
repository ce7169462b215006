"""From a DAG file to what its version consists of, checked against all other DAGs of the org."""

from collections.abc import Iterable, Iterator, Mapping
from hashlib import sha256
from typing import Any

import msgspec

from engine import partitions
from engine.lineage.catalog import CatalogEntry, Surroundings
from engine.lineage.check_graph import check_graph
from engine.lineage.check_job import check_job
from engine.lineage.compiled import (
    CompiledColumn,
    CompiledDag,
    CompiledDataset,
    CompiledInput,
    CompiledJob,
)
from engine.model.dag import EVERY_COLUMN, DagFile, Input, JobSpec, Output
from engine.model.marks import Problem

_SOURCE_OPERATOR = "source"


def compile_dag(dag: DagFile, catalog: Mapping[str, CatalogEntry]) -> CompiledDag:
    """Resolve a DAG file.

    ``catalog`` holds the datasets of the org's current DAGs by name; those of an older version of
    this DAG are passed over. Raises InvalidDag with every problem, one a line, as `parse_dag` does.
    """
    around = Surroundings.of(dag, catalog)
    if problems := list(_problems(around)):
        raise dag.marks.refusal(problems)
    pairs = [_compile_job(job, around) for job in dag.jobs]
    return CompiledDag(
        name=dag.dag,
        description=dag.description,
        content_hash=dag.content_hash(),
        jobs=tuple(job for job, _ in pairs),
        datasets=tuple(dataset for _, datasets in pairs for dataset in datasets),
        columns=tuple(sorted(set(_columns(dag.jobs)))),
    )


def _problems(around: Surroundings) -> Iterator[Problem]:
    yield from around.problems
    for j, job in enumerate(around.dag.jobs):
        yield from check_job(job, ("jobs", j), around)
    yield from check_graph(around)


def _compile_job(
    spec: JobSpec, around: Surroundings
) -> tuple[CompiledJob, tuple[CompiledDataset, ...]]:
    """The job and its datasets, all with the hash of what affects the output."""
    job = _unhashed_job(spec, around)
    datasets = tuple(_unhashed_dataset(spec, o, around) for o in range(len(spec.outputs)))
    config_hash = _config_hash(job, datasets)
    return (
        msgspec.structs.replace(job, config_hash=config_hash),
        tuple(msgspec.structs.replace(each, config_hash=config_hash) for each in datasets),
    )


def _unhashed_job(spec: JobSpec, around: Surroundings) -> CompiledJob:
    return CompiledJob(
        name=spec.name,
        description=spec.description,
        activation=spec.activation,
        runtime=spec.runtime,
        operator=spec.operator if spec.activation != "source" else _SOURCE_OPERATOR,
        source=spec.source.model_dump(exclude_none=True) if spec.source else None,
        execution_strategy=spec.execution_strategy,
        update_strategy=spec.update_strategy,
        unique_key=spec.unique_key,
        inputs=tuple(_input(each, spec, around) for each in spec.inputs),
        outputs=tuple(output.dataset for output in spec.outputs),
        config=spec.config,
        config_hash="",
        scaling=spec.scaling.model_dump(exclude_defaults=True),
        timeout_seconds=spec.timeout,
        heartbeat_timeout_seconds=spec.heartbeat_timeout,
        max_attempts=spec.max_attempts,
        idle_timeout=f"{spec.idle_timeout}s" if spec.idle_timeout else None,
    )


def _input(spec: Input, job: JobSpec, around: Surroundings) -> CompiledInput:
    source, target = around.space(spec.dataset), around.space(job.outputs[0].dataset)
    return CompiledInput(
        dataset=spec.dataset,
        alias=spec.alias,
        mapping=partitions.Mapping.from_spec(spec.mapping, source, target).to_spec(),
        wait_for=spec.wait_for,
        cursor=spec.cursor.model_dump() if spec.cursor else None,
    )


def _unhashed_dataset(job: JobSpec, index: int, around: Surroundings) -> CompiledDataset:
    output: Output = job.outputs[index]
    columns = output.column_names
    return CompiledDataset(
        name=output.dataset,
        job=job.name,
        index=index,
        storage=output.storage,
        read_roles=output.read_roles,
        partitioning=msgspec.json.encode(around.space(output.dataset).to_spec()).decode(),
        columns=columns,
        schema_hash=None if columns is None else _hash(sorted(columns)),
        config_hash="",
    )


def _config_hash(job: CompiledJob, datasets: Iterable[CompiledDataset]) -> str:
    """Covers what can make an output come out otherwise, or elsewhere, and nothing else."""
    return _hash(
        [
            [job.operator, job.config, job.execution_strategy, job.update_strategy],
            job.unique_key,
            [(each.dataset, each.alias, each.mapping, each.cursor) for each in job.inputs],
            [(each.name, each.partitioning, each.schema_hash, each.storage) for each in datasets],
        ]
    )


def _hash(content: Any) -> str:
    return sha256(msgspec.json.encode(content, order="deterministic")).hexdigest()


def _columns(jobs: Iterable[JobSpec]) -> Iterator[CompiledColumn]:
    for job in jobs:
        for output in job.outputs:
            if output.lineage is not None:
                yield from _columns_of(job, output, output.lineage)


def _columns_of(
    job: JobSpec, output: Output, lineage: Mapping[str, tuple[str, ...]]
) -> Iterator[CompiledColumn]:
    """Where some inputs have column lineage, one that no column names counts as read whole."""
    pairs = [(column, reference) for column, refs in lineage.items() for reference in refs]
    datasets = {each.alias: each.dataset for each in job.inputs}
    named = {reference.partition(".")[0] for _, reference in pairs}
    unnamed = [f"{alias}.{EVERY_COLUMN}" for alias in datasets if alias not in named]
    for column, reference in [*pairs, *((EVERY_COLUMN, whole) for whole in unnamed)]:
        alias, _, input_column = reference.partition(".")
        yield CompiledColumn(
            job=job.name,
            output_dataset=output.dataset,
            output_column=column,
            input_dataset=datasets[alias],
            input_column=input_column,
        )
