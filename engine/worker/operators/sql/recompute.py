"""Compare built partitions with a recomputation that writes nothing.

The SELECT of the job runs again on the current inputs, in a transaction that is rolled back. Rows
are compared as text and with their number, like the contents of two runs.
"""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from psycopg import sql

from engine.errors import TaskFailed
from engine.model.dataset import Dataset
from engine.model.task import Lease
from engine.store.database import Connection, Database
from engine.worker.operators.sql.existing import existing_inputs
from engine.worker.operators.sql.inputs import (
    input_tables,
    missing_table,
    selected_columns,
    session,
    units,
)
from engine.worker.operators.sql.queries import queries_of
from engine.worker.operators.sql.reads import common_tables
from engine.worker.operators.sql.shape import shape_of
from engine.worker.operators.sql.statement import Writing
from engine.worker.operators.sql.tables import Table, describe, physical_name
from engine.worker.reading import space_of

_EXAMPLES = 3
_COMPARE = sql.SQL("""WITH {common},
knockon_new AS MATERIALIZED (SELECT {values} FROM ({select}) AS q),
knockon_computed AS MATERIALIZED (SELECT {row}::text AS line FROM knockon_new AS t),
knockon_stored AS MATERIALIZED (SELECT {row}::text AS line FROM {table} AS t WHERE {within}),
knockon_missing AS MATERIALIZED (TABLE knockon_computed EXCEPT ALL TABLE knockon_stored),
knockon_surplus AS MATERIALIZED (TABLE knockon_stored EXCEPT ALL TABLE knockon_computed)
SELECT (SELECT count(*) FROM knockon_stored) AS rows,
       (SELECT count(*) FROM knockon_missing) AS missing,
       (SELECT count(*) FROM knockon_surplus) AS surplus,
       ARRAY(SELECT line FROM knockon_missing ORDER BY line LIMIT {limit}) AS missing_rows,
       ARRAY(SELECT line FROM knockon_surplus ORDER BY line LIMIT {limit}) AS surplus_rows,
       (SELECT count(*) FROM knockon_new WHERE ({within}) IS NOT TRUE) AS strays""")


@dataclass(frozen=True, slots=True)
class Comparison:
    """Difference of an output's stored rows from its recomputed ones, with examples as text.

    ``missing`` rows were computed but are not stored, ``surplus`` rows are stored only.
    """

    dataset: str
    rows: int
    missing: int
    surplus: int
    missing_rows: tuple[str, ...]
    surplus_rows: tuple[str, ...]

    @property
    def is_equal(self) -> bool:
        """True if all rows are the same."""
        return not (self.missing or self.surplus)


class _RollBack(Exception):
    """Raised to leave a transaction without any effect."""


@asynccontextmanager
async def discarded_snapshot(database: Database) -> AsyncIterator[Connection]:
    """Lend a connection with one state of the data for all statements, and roll back at the end."""
    try:
        async with database.foreign_transaction() as conn:
            await conn.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
            yield conn
            raise _RollBack
    except _RollBack:
        pass


async def compare(conn: Connection, org_id: UUID, lease: Lease) -> list[Comparison]:
    """Compare the outputs of a lease that nobody holds, in a `discarded_snapshot`.

    Raises TaskFailed if a table is missing or has other columns, and psycopg's errors.
    """
    org = session(conn, org_id, lease)
    names = map(physical_name, (*lease.inputs.values(), *lease.outputs))
    tables = await describe(conn, names)
    inputs = input_tables(lease, tables)
    partitions = await existing_inputs(org, lease, inputs)
    (unit,) = units(lease)
    common = common_tables(lease, inputs, partitions, unit, None)
    comparisons = []
    for dataset in lease.outputs:
        select = queries_of(lease)[dataset.name]
        columns = await selected_columns(org, lease, select, inputs)
        shape = shape_of(columns, space_of(dataset.partitioning))
        table = _stored(dataset, tables)
        if table.columns.keys() != shape.columns.keys():
            raise TaskFailed(f"table {table.schema}.{table.name} has other columns than the SELECT")
        writing = Writing(lease.job, dataset, table, shape, select, unit, common)
        (row,) = await writing.run(org, _COMPARE, limit=sql.Literal(_EXAMPLES))
        comparisons.append(_comparison(dataset, row))
    return comparisons


def _stored(dataset: Dataset, tables: Mapping[tuple[str, str], Table]) -> Table:
    name = physical_name(dataset)
    if name not in tables:
        raise missing_table(dataset)
    return tables[name]


def _comparison(dataset: Dataset, row: Mapping[str, Any]) -> Comparison:
    return Comparison(
        dataset.name,
        row["rows"],
        row["missing"],
        row["surplus"],
        tuple(row["missing_rows"]),
        tuple(row["surplus_rows"]),
    )
