"""The lineage of an org, read from its current DAG versions.

An org may have 100,000 jobs and a million column edges, so equal texts share one object.
"""

from collections.abc import Callable, Mapping
from functools import lru_cache
from sys import intern
from typing import Any
from uuid import UUID

import msgspec

from engine.garbage_collection import gc_paused
from engine.lineage.compiled import CompiledInput
from engine.lineage.graph import Lineage
from engine.model.dataset import Dataset
from engine.model.job import Appearance, Job, JobInput
from engine.model.states import Activation, ExecutionStrategy, UpdateStrategy
from engine.store.database import Connection
from engine.store.rows.lineage import DatasetRow, JobRow
from engine.store.run import stream

_NOTHING: Mapping[str, Any] = {}
# A look-up takes a fifth of the time of a call of the enum.
_ACTIVATIONS = {each.value: each for each in Activation}
_STRATEGIES = {each.value: each for each in ExecutionStrategy}
_UPDATES = {each.value: each for each in UpdateStrategy}
_inputs = msgspec.json.Decoder(tuple[CompiledInput, ...]).decode
_one: Callable[[Any], Any] = intern
_decoded = lru_cache(maxsize=4096)(msgspec.json.decode)
_appears = lru_cache(maxsize=4096)(msgspec.json.Decoder(Appearance | int).decode)


async def load_lineage(conn: Connection, org: UUID) -> Lineage:
    """Read all current DAG versions of an org. Raises InvalidDag if they are inconsistent."""
    with gc_paused():
        # A savepoint keeps the caller's transaction usable if inconsistent rows abort a stream.
        async with conn.transaction():
            dataset_rows = stream(conn, "lineage.datasets", DatasetRow, org_id=org)
            datasets = [_dataset(row) async for row in dataset_rows]
            by_name = {dataset.name: dataset for dataset in datasets}
            job_rows = stream(conn, "lineage.jobs", JobRow, org_id=org)
            jobs = [_job(by_name, row) async for row in job_rows]
        return Lineage.build(datasets, jobs)


def _dataset(row: DatasetRow) -> Dataset:
    return Dataset(
        row.id,
        row.version,
        _one(row.name),
        _one(row.partitioning),
        None if row.columns is None else tuple(map(_one, row.columns)),
        _decoded(row.storage),
        row.storage_location,
    )


def _job(datasets: Mapping[str, Dataset], row: JobRow) -> Job:
    return Job(
        row.id,
        row.name,
        _one(row.dag_name),
        _ACTIVATIONS[row.activation],
        _STRATEGIES[row.execution_strategy],
        _reads(datasets, row.inputs),
        tuple([datasets[output].id for output in row.output_datasets]),
        _one(row.runtime),
        _one(row.operator),
        _UPDATES[row.update_strategy],
        tuple(row.unique_key),
        _decoded(row.config),
        row.config_hash,
        _decoded(row.scaling),
        row.timeout_seconds,
        row.heartbeat_timeout_seconds,
        row.max_attempts,
        row.column_lineage,
        row.code,
        _appears(row.appears),
    )


def _reads(datasets: Mapping[str, Dataset], inputs: str) -> tuple[JobInput, ...]:
    """Return the inputs of a job that are produced by a current DAG."""
    return tuple(
        [
            JobInput(
                read.id,
                read.name,
                _one(declared.alias),
                _one(declared.mapping) if isinstance(declared.mapping, str) else declared.mapping,
                declared.wait_for,
                declared.cursor,
                declared.preserved_columns or _NOTHING,
                declared.ignores_failure,
            )
            for declared in _inputs(inputs)
            if (read := datasets.get(declared.dataset))
        ]
    )
