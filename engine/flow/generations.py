"""Generations: which version of each dataset a DAG version serves."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import msgspec
from psycopg.types.json import Jsonb

from engine.flow.serving import Serving
from engine.lineage.compiled import CompiledDag, CompiledDataset
from engine.lineage.diff import DagDiff
from engine.partitions import PartitionSpace
from engine.store.database import Connection
from engine.store.ids import new_id
from engine.store.run import execute, fetch


@dataclass(frozen=True, slots=True)
class Generations:
    """The datasets of a version by name, and the generations that the deploy began."""

    datasets: dict[str, UUID]
    begun: dict[str, UUID]

    @staticmethod
    async def make(
        conn: Connection,
        org_id: UUID,
        version_id: UUID,
        previous: Serving | None,
        compiled: CompiledDag,
        change: DagDiff,
    ) -> "Generations":
        """Write datasets, new generations and pins; the rest keep the pins that they had."""
        ids = await _upsert_datasets(conn, org_id, compiled)
        pins = await _pins(conn, previous)
        fresh = [
            each
            for each in compiled.datasets
            if each.name in change.regenerated or ids[each.name] not in pins
        ]
        begun = {each.name: new_id() for each in fresh}
        rows = [_generation_row(each, ids[each.name], begun[each.name]) for each in fresh]
        await execute(conn, "dags.insert_generations", rows=Jsonb(rows))
        await _inherit(conn, previous, compiled, ids, pins, begun)
        versions = [begun.get(name) or pins[ids[name]] for name in ids]
        await execute(
            conn,
            "dags.pin",
            dag_version_id=version_id,
            datasets=list(ids.values()),
            versions=versions,
        )
        return Generations(ids, begun)


async def _upsert_datasets(
    conn: Connection, org_id: UUID, compiled: CompiledDag
) -> dict[str, UUID]:
    rows = [
        {
            "id": new_id(),
            "name": each.name,
            "producer_job_name": each.job,
            "producer_output_index": each.index,
            "storage": each.storage,
            "read_roles": each.read_roles,
        }
        for each in compiled.datasets
    ]
    await execute(
        conn, "dags.upsert_datasets", org_id=org_id, dag_name=compiled.name, rows=Jsonb(rows)
    )
    names = [each.name for each in compiled.datasets]
    found = await fetch(conn, "dags.datasets_named", org_id=org_id, names=names)
    return {row["name"]: row["id"] for row in found}


async def _pins(conn: Connection, previous: Serving | None) -> dict[UUID, UUID]:
    if previous is None:
        return {}
    rows = await fetch(conn, "dags.pins", dag_version_id=previous.version_id)
    return {row["dataset_uuid"]: row["dataset_version"] for row in rows}


def _generation_row(dataset: CompiledDataset, dataset_id: UUID, version: UUID) -> dict[str, Any]:
    return {
        "id": version,
        "dataset_uuid": dataset_id,
        "storage_location": dataset.storage.get("table"),
        "config_hash": dataset.config_hash,
        "schema_hash": dataset.schema_hash,
        "partitioning": dataset.partitioning,
        "columns": dataset.columns,
    }


async def _inherit(
    conn: Connection,
    previous: Serving | None,
    compiled: CompiledDag,
    ids: Mapping[str, UUID],
    pins: Mapping[UUID, UUID],
    begun: Mapping[str, UUID],
) -> None:
    """A source that is cut as before, or further on, keeps what is known and said of it.

    We do not make it.
    """
    before = {each.name: _space(each) for each in previous.compiled.datasets} if previous else {}
    for dataset in _sources(compiled):
        was = before.get(dataset.name)
        if was is not None and dataset.name in begun and _space(dataset).extends(was):
            which = {
                "dataset": ids[dataset.name],
                "previous": pins[ids[dataset.name]],
                "version": begun[dataset.name],
            }
            await execute(conn, "partitions.inherit", **which)
            await execute(conn, "invalidations.inherit", **which)


def _space(dataset: CompiledDataset) -> PartitionSpace:
    return PartitionSpace.from_spec(msgspec.json.decode(dataset.partitioning))


def _sources(compiled: CompiledDag) -> list[CompiledDataset]:
    jobs = {job.name for job in compiled.jobs if job.activation == "source"}
    return [dataset for dataset in compiled.datasets if dataset.job in jobs]
