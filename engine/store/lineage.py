"""The lineage of an org, read from its current DAG versions.

An org may have 100,000 jobs and a million column edges, so equal texts share one object.
"""

from collections.abc import AsyncIterator, Callable, Mapping
from functools import lru_cache, partial
from sys import intern
from typing import Any, TypeVar
from uuid import UUID

import msgspec
from psycopg.rows import args_row

from engine.gc_pause import gc_paused
from engine.lineage.compiled import CompiledInput
from engine.lineage.graph import Lineage
from engine.model.dataset import Dataset
from engine.model.job import Job, JobInput
from engine.model.states import Activation, ExecutionStrategy, UpdateStrategy
from engine.store.database import Connection
from engine.store.queries import query

T = TypeVar("T")
_PAGE = 200
"""Rows fetched at once: about as many as network buffers hold, so that the server can continue."""
_NOTHING: Mapping[str, Any] = {}
# A look-up takes a fifth of the time of a call of the enum.
_ACTIVATIONS = {each.value: each for each in Activation}
_STRATEGIES = {each.value: each for each in ExecutionStrategy}
_UPDATES = {each.value: each for each in UpdateStrategy}
_inputs = msgspec.json.Decoder(tuple[CompiledInput, ...]).decode
_one: Callable[[Any], Any] = intern
_decoded = lru_cache(maxsize=4096)(msgspec.json.decode)


async def load_lineage(conn: Connection, org: UUID) -> Lineage:
    """Read all current DAG versions of an org. Raises InvalidDag if they are inconsistent."""
    with gc_paused():
        # A savepoint keeps the caller's transaction usable if inconsistent rows abort a stream.
        async with conn.transaction():
            datasets = [row async for row in _read(conn, "lineage.datasets", org, _dataset)]
            by_name = {dataset.name: dataset for dataset in datasets}
            jobs = [row async for row in _read(conn, "lineage.jobs", org, partial(_job, by_name))]
        return Lineage.build(datasets, jobs)


def _read(conn: Connection, name: str, org: UUID, make: Callable[..., T]) -> AsyncIterator[T]:
    """Stream rows through ``make`` while the server continues to send."""
    cursor = conn.cursor(binary=True, row_factory=args_row(make))
    return cursor.stream(query(name).encode(), {"org_id": org}, size=_PAGE)


def _dataset(
    id_: UUID,
    version: UUID,
    name: str,
    partitioning: str,
    columns: list[str] | None,
    storage: str,
    location: str | None,
) -> Dataset:
    names = None if columns is None else tuple(map(_one, columns))
    config = _decoded(storage)
    return Dataset(id_, version, _one(name), _one(partitioning), names, config, location)


def _job(datasets: Mapping[str, Dataset], *row: Any) -> Job:
    (id_, name, dag, activation, strategy, inputs, outputs, runtime, operator, update, *rest) = row
    unique_key, config, config_hash, scaling, *limits = rest
    return Job(
        id_,
        name,
        _one(dag),
        _ACTIVATIONS[activation],
        _STRATEGIES[strategy],
        _reads(datasets, inputs),
        tuple([datasets[output].id for output in outputs]),
        _one(runtime),
        _one(operator),
        _UPDATES[update],
        tuple(unique_key),
        _decoded(config),
        config_hash,
        _decoded(scaling),
        *limits,
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
            )
            for declared in _inputs(inputs)
            if (read := datasets.get(declared.dataset))
        ]
    )
