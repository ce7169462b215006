"""Dataset versions of each DAG version."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import msgspec
from psycopg.types.json import Jsonb

from engine.flow.deployment.current_versions import CurrentVersion
from engine.flow.planning.carry_over import carry_over
from engine.lineage.compiled import CompiledDag, CompiledDataset
from engine.lineage.diff import DagDiff
from engine.partitions import PartitionSpace
from engine.store.database import Connection
from engine.store.ids import new_id
from engine.store.rows.dags import DatasetPin, NamedId, NewestVersion
from engine.store.rows.invalidations import InheritableInvalidation
from engine.store.rows.partitions import PartitionKey
from engine.store.run import execute, fetch


@dataclass(frozen=True, slots=True)
class DatasetVersions:
    """Datasets of a DAG version by name, and the dataset versions created by its deploy.

    ``predecessors`` are, for created versions of existing datasets, the newest versions before the
    deploy: the previous version, or an earlier one if the previous DAG version lacks the dataset.
    """

    datasets: dict[str, UUID]
    created: dict[str, UUID]
    predecessors: dict[str, UUID]

    @staticmethod
    async def make(
        conn: Connection,
        org_id: UUID,
        version_id: UUID,
        previous: CurrentVersion | None,
        compiled: CompiledDag,
        change: DagDiff,
    ) -> "DatasetVersions":
        """Write datasets, new dataset versions and pins.

        Unchanged datasets keep the pins of ``previous``, the version current until now; a DAG
        version that is deployed again loses its earlier pins.
        """
        names = [dataset.name for dataset in compiled.datasets]
        newest = await fetch(
            conn, "dags.newest_dataset_versions", NewestVersion, names=names, org_id=org_id
        )
        ids = await _upsert_datasets(conn, org_id, compiled)
        pins: dict[UUID, UUID] = {}
        if previous is not None:
            rows = await fetch(conn, "dags.pins", DatasetPin, dag_version_id=previous.version_id)
            pins = {row.dataset_uuid: row.dataset_version for row in rows}
        changed = [
            dataset
            for dataset in compiled.datasets
            if dataset.name in change.regenerated or ids[dataset.name] not in pins
        ]
        created = {dataset.name: new_id() for dataset in changed}
        before = {row.name: row for row in newest if row.name in created}
        new = [
            _version_row(dataset, ids[dataset.name], created[dataset.name]) for dataset in changed
        ]
        await execute(conn, "dags.insert_dataset_versions", org_id=org_id, rows=Jsonb(new))
        predecessors = {name: row.id for name, row in before.items()}
        versions = DatasetVersions(ids, created, predecessors)
        await _inherit(conn, compiled, versions, before)
        await execute(
            conn,
            "dags.pin",
            org_id=org_id,
            dag_version_id=version_id,
            datasets=list(ids.values()),
            versions=[created.get(name) or pins[id_] for name, id_ in ids.items()],
        )
        return versions


async def _upsert_datasets(
    conn: Connection, org_id: UUID, compiled: CompiledDag
) -> dict[str, UUID]:
    rows = [
        {
            "id": new_id(),
            "name": dataset.name,
            "producer_job_name": dataset.job,
            "producer_output_index": dataset.index,
            "storage": dataset.storage,
            "read_roles": dataset.read_roles,
            "debounce": dataset.debounce,
        }
        for dataset in compiled.datasets
    ]
    await execute(
        conn, "dags.upsert_datasets", org_id=org_id, dag_name=compiled.name, rows=Jsonb(rows)
    )
    names = [dataset.name for dataset in compiled.datasets]
    return {
        row.name: row.id
        for row in await fetch(conn, "dags.datasets_named", NamedId, org_id=org_id, names=names)
    }


def _version_row(dataset: CompiledDataset, dataset_id: UUID, version: UUID) -> dict[str, Any]:
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
    compiled: CompiledDag,
    versions: DatasetVersions,
    newest: Mapping[str, NewestVersion],
) -> None:
    """Carry partitions and open invalidations of sources over, as far as the new bounds reach.

    Source data is produced elsewhere, so existing partitions stay valid if the new partitioning is
    compatible; only readers are affected. If the storage is the same, cursors are carried over too.
    """
    for dataset in compiled.sources:
        predecessor = newest.get(dataset.name)
        if predecessor is None:
            continue
        before = PartitionSpace.from_spec(predecessor.partitioning)
        after = PartitionSpace.from_spec(msgspec.json.decode(dataset.partitioning))
        if after.is_alike(before):
            ids = {
                "dataset": versions.datasets[dataset.name],
                "predecessor": versions.predecessors[dataset.name],
                "version": versions.created[dataset.name],
            }
            await _inherit_partitions(conn, before, after, ids)
            rows = await fetch(conn, "invalidations.inheritable", InheritableInvalidation, **ids)
            await carry_over(conn, rows, before, after, ids["version"])
            if predecessor.storage == dataset.storage:
                await execute(conn, "cursors.inherit", **ids)


async def _inherit_partitions(
    conn: Connection, before: PartitionSpace, after: PartitionSpace, ids: Mapping[str, UUID]
) -> None:
    existing = await fetch(
        conn,
        "partitions.existing",
        PartitionKey,
        dataset=ids["dataset"],
        version=ids["predecessor"],
    )
    inherited = after.part_of(before.from_keys(row.key for row in existing))
    keys = list(after.keys(inherited, limit=len(existing)))
    await execute(conn, "partitions.inherit", keys=keys, **ids)
