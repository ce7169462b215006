"""The DAG file of a world of tables, with the tables and code defined outside the file."""

from __future__ import annotations

from collections.abc import Iterator
from random import Random
from typing import Any

from tests.simulation.mapping import Read
from tests.simulation.tables.content import quoted
from tests.simulation.tables.generate import TableWorld
from tests.simulation.tables.reword import reworded
from tests.simulation.tables.select import FUNCTION, HOME
from tests.simulation.world import Job

DAG = "tables"
_TYPES = {"id": "bigint", "number": "integer", "text": "text"}


def dag_jobs(world: TableWorld, schema: str, wording: int = 0) -> list[dict[str, Any]]:
    """Return the jobs of the DAG file. Only the columns of sources are declared.

    SELECTs with another ``wording`` have equivalent texts.
    """
    return [_source(world, job, schema) for job in world.world.sources] + [
        _job(world, job, schema, wording) for job in world.world.derived_jobs
    ]


def _source(world: TableWorld, job: Job, schema: str) -> dict[str, Any]:
    output = _output(job, job.outputs[0].name, schema)
    columns = [*job.outputs[0].columns, *(d.name for d in job.space)]
    return {
        "name": job.name,
        "activation": "source",
        "source": {"kind": "manual"},
        "outputs": [output | {"columns": columns}],
    }


def _job(world: TableWorld, job: Job, schema: str, wording: int) -> dict[str, Any]:
    selects = {
        name: in_schema(select.text, schema)
        for name, select in world.recipes[job.name].selects.items()
    }
    if wording:
        selects = {n: reworded(text, Random(f"{wording} {n}")) for n, text in selects.items()}
    return {
        "name": job.name,
        "operator": "sql",
        "config": {"sql": selects},
        "inputs": [_input(read) for read in job.reads],
        "outputs": [_output(job, output.name, schema) for output in job.outputs],
        "scaling": {"partitions_per_task": job.per_task},
        "max_attempts": job.max_attempts,
    }


def _input(read: Read) -> dict[str, Any]:
    return {"dataset": read.dataset} | ({} if read.spec is None else {"mapping": read.spec})


def _output(job: Job, dataset: str, schema: str) -> dict[str, Any]:
    return {
        "dataset": dataset,
        "storage": {"table": f"{schema}.{dataset}"},
        "partitioning": {d.name: d.spec() for d in job.space},
    }


def in_schema(text: str, schema: str) -> str:
    """Return the text of a SELECT for a world in the given schema."""
    return text.replace(HOME, quoted(schema))


# -- outside the file ------------------------------------------------------------------------------


def table_of(world: TableWorld, dataset: str) -> str:
    """Return the table with the rows of a source."""
    return f"{dataset}_rows" if dataset in world.views else dataset


def statements(world: TableWorld, schema: str) -> Iterator[str]:
    """Yield the statements creating the schema of a world, with its sources and functions."""
    home = quoted(schema)
    yield f"CREATE SCHEMA {home}"
    yield function_of(schema, 1)
    for job in world.world.sources:
        name = job.outputs[0].name
        columns = [f"{quoted(column)} {_TYPES[kind]}" for column, kind in world.shapes[name].kinds]
        columns += [f"{quoted(d.name)} {'date' if d.kind == 'time' else 'text'}" for d in job.space]
        yield f"CREATE TABLE {home}.{table_of(world, name)} ({', '.join(columns)})"
        if name in world.views:
            yield view_of(world, job, schema, 0)


def function_of(schema: str, salt: int) -> str:
    """Return the definition of the function called by SELECTs."""
    signature = f"{in_schema(FUNCTION, schema)}(n integer) RETURNS integer"
    return f"CREATE OR REPLACE FUNCTION {signature} IMMUTABLE LANGUAGE sql AS 'SELECT n + {salt}'"


def view_of(world: TableWorld, job: Job, schema: str, salt: int) -> str:
    """Return the definition of a view source, with a computed column and a filter column."""
    name, home = job.outputs[0].name, quoted(schema)
    columns = ", ".join(
        ["id", "k", "x", f"y + {salt} AS y", "z, v, w", *(d.name for d in job.space)]
    )
    rows = f"{home}.{table_of(world, name)} WHERE z IS DISTINCT FROM 0"
    return f"CREATE OR REPLACE VIEW {home}.{name} AS SELECT {columns} FROM {rows}"
