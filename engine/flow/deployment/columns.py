"""Column lineage of a DAG version, from the DAG file, its SQL and lineage reported by runs."""

from collections.abc import Mapping
from uuid import UUID

from psycopg.types.json import Jsonb

from engine.flow.deployment.current_versions import CurrentVersion
from engine.flow.deployment.dataset_versions import DatasetVersions
from engine.lineage.compiled import CompiledDag
from engine.store.database import Connection
from engine.store.rows.dags import NamedId
from engine.store.run import execute, fetch


async def write_columns(
    conn: Connection,
    org_id: UUID,
    previous: CurrentVersion | None,
    compiled: CompiledDag,
    versions: DatasetVersions,
    jobs: Mapping[str, UUID],
) -> None:
    """Write the column lineage of a new DAG version; ``jobs`` maps names to ids.

    Reported lineage is kept for outputs that accept it in both DAG versions and keep their data.
    """
    accepting: set[str] = set()
    if previous:
        accepting = _accepting(previous.compiled) & _accepting(compiled) - versions.created.keys()
    replaced = [dataset for name, dataset in versions.datasets.items() if name not in accepting]
    await execute(conn, "dags.delete_columns", datasets=replaced)
    kept = [dataset for dataset in compiled.datasets if dataset.name in accepting]
    await execute(
        conn,
        "dags.keep_columns",
        datasets=[versions.datasets[dataset.name] for dataset in kept],
        jobs=[jobs[dataset.job] for dataset in kept],
    )
    await _insert(conn, org_id, compiled, versions.datasets, jobs)


def _accepting(dag: CompiledDag) -> set[str]:
    return {name for job in dag.jobs for name in job.accepts_reported_lineage}


async def _insert(
    conn: Connection,
    org_id: UUID,
    compiled: CompiledDag,
    datasets: Mapping[str, UUID],
    jobs: Mapping[str, UUID],
) -> None:
    names = list({column.input_dataset for column in compiled.columns} - datasets.keys())
    foreign = await fetch(conn, "dags.datasets_named", NamedId, org_id=org_id, names=names)
    ids = {row.name: row.id for row in foreign} | dict(datasets)
    rows = [
        {
            "output": ids[column.output_dataset],
            "output_column": column.output_column,
            "input": ids[column.input_dataset],
            "input_column": column.input_column,
            "job": jobs[column.job],
        }
        for column in compiled.columns
    ]
    await execute(conn, "dags.insert_columns", org_id=org_id, rows=Jsonb(rows))
