"""The lineage of an org, read from its current DAG versions.

An org may have a million column edges: rows are tuples here, and equal texts and ids one object.
"""

from collections.abc import AsyncIterator, Mapping
from sys import intern
from typing import Any
from uuid import UUID

from psycopg.rows import tuple_row

from engine.lineage.graph import ColumnEdge, Lineage
from engine.model.dataset import Dataset
from engine.model.job import Job, JobInput
from engine.store.database import Connection
from engine.store.queries import query

_PAGE = 2_000


async def load_lineage(conn: Connection, org: UUID) -> Lineage:
    """Read all current DAG versions of an org. Raises InvalidDag where they contradict."""
    datasets = [_dataset(*row) async for row in _rows(conn, "lineage.datasets", org)]
    ids = {dataset.name: dataset.id for dataset in datasets}
    jobs = [_job(ids, *row) async for row in _rows(conn, "lineage.jobs", org)]
    return Lineage.build(datasets, jobs, await _columns(conn, org, datasets))


async def _columns(conn: Connection, org: UUID, datasets: list[Dataset]) -> list[ColumnEdge]:
    ids = {str(dataset.id): dataset.id for dataset in datasets}
    return [
        (ids[made], intern(to), ids[read], intern(by))
        async for made, to, read, by in _rows(conn, "lineage.columns", org)
        if made in ids and read in ids
    ]


async def _rows(conn: Connection, name: str, org: UUID) -> AsyncIterator[tuple[Any, ...]]:
    """The rows of a statement, of which only a page is held at a time."""
    async with conn.transaction(), conn.cursor("lineage", row_factory=tuple_row) as cursor:
        await cursor.execute(query(name).encode(), {"org_id": org})
        while rows := await cursor.fetchmany(_PAGE):
            for row in rows:
                yield row


def _dataset(
    id_: UUID,
    version: UUID,
    name: str,
    partitioning: str,
    columns: list[str] | None,
    storage: Mapping[str, Any],
    location: str | None,
) -> Dataset:
    named = None if columns is None else tuple(map(intern, columns))
    return Dataset(id_, version, intern(name), intern(partitioning), named, storage, location)


def _job(ids: Mapping[str, UUID], *row: Any) -> Job:
    (id_, name, dag, activation, strategy, inputs, outputs, runtime, operator, update, *rest) = row
    unique_key, *settings = rest
    return Job(
        id_,
        name,
        intern(dag),
        activation,
        strategy,
        tuple([_input(each, ids) for each in inputs if each["dataset"] in ids]),
        tuple([ids[output] for output in outputs]),
        intern(runtime),
        intern(operator),
        update,
        tuple(unique_key),
        *settings,
    )


def _input(spec: Mapping[str, Any], ids: Mapping[str, UUID]) -> JobInput:
    name = intern(spec["dataset"])
    return JobInput(
        ids[name], name, spec["alias"], spec["mapping"], spec["wait_for"], spec.get("cursor")
    )
