"""A synthetic lineage written straight into the tables, in the state after a deploy."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any
from uuid import UUID, uuid4

from psycopg.types.json import Jsonb

from engine.flow.shared.org_context import OrgContext
from engine.model.job import Job
from engine.store.database import Connection
from engine.store.orgs import ensure_org
from tests.benchmarks.worlds import World

_COLUMNS = {
    "datasets": "id, org_id, name, producer_dag_name, producer_job_name",
    "dataset_versions": "org_id, id, dataset_uuid, config_hash, partitioning",
    "dag_version_datasets": "org_id, dag_version_id, dataset_uuid, dataset_version",
    "jobs": "id, org_id, name, dag_name, dag_version_id, activation, runtime, operator, source,"
    " execution_strategy, config_hash, input_datasets, output_datasets, update_strategy, inputs",
    "column_lineage": "org_id, output_dataset_uuid, output_column, input_dataset_uuid,"
    " input_column, job_id",
}


@dataclass(frozen=True, slots=True)
class _Store:
    world: World
    org: UUID
    dag_version: UUID

    def rows(self) -> dict[str, Iterable[tuple[Any, ...]]]:
        datasets, dag = self.world.datasets, self.dag_version
        producers = {job.outputs[0]: job for job in self.world.jobs}
        return {
            "datasets": ((d.id, self.org, d.name, "world", producers[d.id].name) for d in datasets),
            "dataset_versions": ((self.org, d.version, d.id, "", d.partitioning) for d in datasets),
            "dag_version_datasets": ((self.org, dag, d.id, d.version) for d in datasets),
            "jobs": self._jobs(),
            "column_lineage": (
                (self.org, *edge, producers[edge[0]].id)
                for edge in dict.fromkeys(self.world.columns)
            ),
        }

    def _jobs(self) -> Iterator[tuple[Any, ...]]:
        names = {dataset.id: dataset.name for dataset in self.world.datasets}
        for job in self.world.jobs:
            source = Jsonb({"kind": "manual"}) if job.activation == "source" else None
            reads = [each.name for each in job.inputs]
            makes = [names[output] for output in job.outputs]
            yield (
                *(job.id, self.org, job.name, job.dag_name, self.dag_version, job.activation),
                *(job.runtime, job.operator, source, job.strategy, job.config_hash),
                *(reads, makes, job.update_strategy, Jsonb(_inputs(job))),
            )


def _inputs(job: Job) -> list[dict[str, Any]]:
    return [
        {"dataset": i.name, "alias": i.alias, "mapping": i.mapping, "wait_for": i.wait_for}
        for i in job.inputs
    ]


async def store(conn: Connection, world: World, slug: str = "default") -> OrgContext:
    """Write a lineage as the current versions of an org."""
    org, dag_version = await ensure_org(conn, slug), uuid4()
    async with conn.transaction():
        await conn.execute(
            "SET LOCAL session_replication_role = replica"
        )  # skips foreign key checks
        await conn.execute(
            "INSERT INTO dag_versions (id, org_id, dag_name, number, yaml_hash, content)"
            " VALUES (%s, %s, 'world', 1, '', '{}')",
            [dag_version, org],
        )
        await conn.execute(
            "INSERT INTO dag_current_versions (org_id, dag_name, dag_version_id)"
            " VALUES (%s, 'world', %s)",
            [org, dag_version],
        )
        for table, rows in _Store(world, org, dag_version).rows().items():
            await _copy(conn, table, rows)
    await conn.execute("ANALYZE")
    return OrgContext(org)


async def _copy(conn: Connection, table: str, rows: Iterable[tuple[Any, ...]]) -> None:
    statement = f"COPY {table} ({_COLUMNS[table]}) FROM STDIN"
    async with conn.cursor() as cursor, cursor.copy(statement.encode()) as copy:
        for row in rows:
            await copy.write_row(row)
