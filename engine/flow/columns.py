"""The column lineage of a DAG version: what the file and its SQL say, and what runs have told."""

from collections.abc import Mapping
from uuid import UUID

from psycopg.types.json import Jsonb

from engine.flow.generations import Generations
from engine.flow.serving import Serving
from engine.lineage.compiled import CompiledDag
from engine.store.database import Connection
from engine.store.run import execute, fetch


async def write_columns(
    conn: Connection,
    org_id: UUID,
    previous: Serving | None,
    compiled: CompiledDag,
    built: Generations,
    jobs: Mapping[str, UUID],
) -> None:
    """Have the column lineage of a version that takes the place of another; ``jobs`` by name."""
    told = _told(previous, compiled) - built.begun.keys() if previous else set()
    forgotten = [dataset for name, dataset in built.datasets.items() if name not in told]
    await execute(conn, "dags.forget_columns", datasets=forgotten)
    kept = [each for each in compiled.datasets if each.name in told]
    await execute(
        conn,
        "dags.keep_columns",
        datasets=[built.datasets[each.name] for each in kept],
        jobs=[jobs[each.job] for each in kept],
    )
    await _insert(conn, org_id, compiled, built.datasets, jobs)


def _told(previous: Serving, compiled: CompiledDag) -> set[str]:
    """The datasets whose column lineage runs may tell now, and might before."""
    return _learning(previous.compiled) & _learning(compiled)


def _learning(dag: CompiledDag) -> set[str]:
    return {name for job in dag.jobs for name in job.learns}


async def _insert(
    conn: Connection,
    org_id: UUID,
    compiled: CompiledDag,
    datasets: Mapping[str, UUID],
    jobs: Mapping[str, UUID],
) -> None:
    names = list({each.input_dataset for each in compiled.columns} - datasets.keys())
    foreign = await fetch(conn, "dags.datasets_named", org_id=org_id, names=names)
    ids = {row["name"]: row["id"] for row in foreign} | dict(datasets)
    rows = [
        {
            "output": ids[each.output_dataset],
            "output_column": each.output_column,
            "input": ids[each.input_dataset],
            "input_column": each.input_column,
            "job": jobs[each.job],
        }
        for each in compiled.columns
    ]
    await execute(conn, "dags.insert_columns", rows=Jsonb(rows))
