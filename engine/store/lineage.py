"""The lineage of an org, read from its current DAG versions."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any
from uuid import UUID

from engine.lineage.graph import Lineage
from engine.model.dataset import Dataset
from engine.model.job import Job, JobInput
from engine.store.database import Connection
from engine.store.orgs import lineage_epoch
from engine.store.run import Row, fetch


async def load_lineage(conn: Connection, org: UUID) -> Lineage:
    """Read all current DAG versions of an org. Raises InvalidDag where they contradict.

    A deploy that commits between the statements moves the epoch: then they are read again.
    """
    epoch, before = await lineage_epoch(conn, org), None
    while epoch != before:
        datasets = await fetch(conn, "lineage.datasets", org_id=org)
        jobs = await fetch(conn, "lineage.jobs", org_id=org)
        columns = await fetch(conn, "lineage.columns", org_id=org)
        before, epoch = epoch, await lineage_epoch(conn, org)
    return _build(datasets, jobs, columns)


def _build(datasets: Iterable[Row], jobs: Iterable[Row], columns: Sequence[Row]) -> Lineage:
    made = [_dataset(row) for row in datasets]
    ids = {dataset.name: dataset.id for dataset in made}
    return Lineage.build(made, [_job(row, ids) for row in jobs], _columns(columns))


def _columns(rows: Sequence[Row]) -> Iterator[tuple[UUID, str, UUID, str]]:
    for row in rows:
        yield (
            row["output_dataset_uuid"],
            row["output_column"],
            row["input_dataset_uuid"],
            row["input_column"],
        )


def _dataset(row: Row) -> Dataset:
    return Dataset(
        id=row["id"],
        version=row["version"],
        name=row["name"],
        partitioning=row["partitioning"],
        columns=None if row["columns"] is None else tuple(row["columns"]),
        storage=row["storage"],
        location=row["storage_location"],
    )


def _job(row: Row, ids: Mapping[str, UUID]) -> Job:
    return Job(
        id=row["id"],
        name=row["name"],
        dag_name=row["dag_name"],
        activation=row["activation"],
        strategy=row["execution_strategy"],
        inputs=tuple(_input(each, ids) for each in row["inputs"] if each["dataset"] in ids),
        outputs=tuple(ids[name] for name in row["output_datasets"]),
        runtime=row["runtime"],
        operator=row["operator"],
        update_strategy=row["update_strategy"],
        unique_key=tuple(row["unique_key"]),
        config=row["config"],
        config_hash=row["config_hash"],
        scaling=row["scaling"],
        timeout_seconds=row["timeout_seconds"],
        heartbeat_timeout_seconds=row["heartbeat_timeout_seconds"],
        max_attempts=row["max_attempts"],
    )


def _input(spec: Mapping[str, Any], ids: Mapping[str, UUID]) -> JobInput:
    return JobInput(
        dataset=ids[spec["dataset"]],
        name=spec["dataset"],
        alias=spec["alias"],
        mapping=spec["mapping"],
        wait_for=spec["wait_for"],
        cursor=spec.get("cursor"),
    )
