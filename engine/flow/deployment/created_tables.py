"""Tables that Knockon has created for the datasets of a DAG, and their removal."""

from collections.abc import Sequence

import psycopg
from psycopg import sql

from engine.errors import InvalidInput
from engine.flow.execution.table_claims import find_claims
from engine.flow.shared.org_context import OrgContext
from engine.lineage.compiled import CompiledDag
from engine.model.states import Activation
from engine.model.table_mark import TableMark
from engine.model.tables import TableName, table_name, table_text
from engine.store.as_org import AsOrg
from engine.store.database import Connection
from engine.store.rows.dags import NamedId
from engine.store.rows.tables import DescribedTable, ReachedTable
from engine.store.run import fetch

_KINDS = ("r", "p")
_TIMEOUT_SECONDS = 30


async def created_tables(
    conn: Connection, org: OrgContext, compiled: CompiledDag
) -> list[TableName]:
    """Return the tables created by Knockon for datasets of a DAG, and used by no other dataset.

    The comment of a table names the dataset for which the table was created.
    """
    jobs = {job.name: job for job in compiled.jobs}
    stored = {
        dataset.name: table_name(table_text(dataset.storage, dataset.name)).qualified
        for dataset in compiled.datasets
        if jobs[dataset.job].operator == "sql" and jobs[dataset.job].activation != Activation.SOURCE
    }
    names = list(stored)
    rows = await fetch(conn, "dags.datasets_named", NamedId, org_id=org.id, names=names)
    ids = {str(row.id): row.name for row in rows}
    described = await fetch(
        conn,
        "tables.describe",
        DescribedTable,
        names=[sql.Identifier(*table.parts).as_string(conn) for table in stored.values()],
    )
    created = []
    for row in described:
        mark, table = TableMark.read(row.comment), TableName(row.schema, row.table)
        if mark and row.kind in _KINDS and stored.get(ids.get(mark.dataset, "")) == table:
            created.append(table)
    return [table for table in created if not await _is_claimed(conn, org, compiled, table)]


async def _is_claimed(
    conn: Connection, org: OrgContext, compiled: CompiledDag, table: TableName
) -> bool:
    """Return True if a dataset of another DAG is stored in the table or captured from it."""
    name = sql.Identifier(*table.parts).as_string(conn)
    reached = await fetch(conn, "tables.reached_by_writes", ReachedTable, names=[name])
    names = {row.table for row in reached}
    claims = await find_claims(conn, org.id, names, reached, {compiled.name: compiled})
    own = {dataset.name for dataset in compiled.datasets}
    return any(
        claim.covers(row) and not (claim.is_ours and claim.dataset in own)
        for claim in claims
        for row in reached
    )


async def drop_tables(conn: Connection, org: OrgContext, tables: Sequence[TableName]) -> None:
    """Drop tables with the rights of the org's jobs, all or none.

    Raises InvalidInput if other objects depend on a table, or if it stays in use. The caller must
    close the connection then.
    """
    as_org = AsOrg(conn, org.id, "UTC", _TIMEOUT_SECONDS)
    async with conn.transaction():
        for table in tables:
            statement = sql.SQL("DROP TABLE {}").format(sql.Identifier(*table.parts))
            try:
                await as_org.execute(statement)
            except psycopg.errors.DependentObjectsStillExist as error:
                raise InvalidInput(
                    f"no table is dropped, because other objects depend on {table}: drop these "
                    f"first, and repeat the command ({error.diag.message_detail})"
                ) from error
            except psycopg.errors.QueryCanceled as error:
                raise InvalidInput(
                    f"no table is dropped, because {table} was in use for {_TIMEOUT_SECONDS} s: "
                    "repeat the command"
                ) from error
