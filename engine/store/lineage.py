"""The lineage of an org, read from its current DAG versions.

An org may have a million column edges: rows are tuples here, and equal texts and ids one object.
"""

from collections.abc import Mapping
from sys import intern
from typing import Any
from uuid import UUID

from psycopg.rows import tuple_row

from engine.lineage.graph import ColumnEdge, Lineage
from engine.model.dataset import Dataset
from engine.model.job import Job, JobInput
from engine.store.database import Connection
from engine.store.queries import query
from engine.store.run import fetch_tuples

_PAGE = 20_000


async def load_lineage(conn: Connection, org: UUID) -> Lineage:
    """Read all current DAG versions of an org. Raises InvalidDag where they contradict."""
    datasets = [_dataset(*row) for row in await fetch_tuples(conn, "lineage.datasets", org_id=org)]
    ids = {dataset.name: dataset.id for dataset in datasets}
    jobs = [_job(ids, *row) for row in await fetch_tuples(conn, "lineage.jobs", org_id=org)]
    return Lineage.build(datasets, jobs, await _columns(conn, org, datasets))


async def _columns(conn: Connection, org: UUID, datasets: list[Dataset]) -> list[ColumnEdge]:
    ids = {str(dataset.id): dataset.id for dataset in datasets}
    found: list[ColumnEdge] = []
    async with conn.transaction(), conn.cursor("lineage_columns", row_factory=tuple_row) as cursor:
        await cursor.execute(query("lineage.columns").encode(), {"org_id": org})
        while rows := await cursor.fetchmany(_PAGE):
            found += [
                (ids[made], intern(to), ids[read], intern(by))
                for made, to, read, by in rows
                if made in ids and read in ids
            ]
    return found


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
