"""Compare the tables written by a transaction with the permitted ones.

A table can be renamed, partitioned or given a trigger between the check and the write. From then
on, the lock of the write preserves the table until the commit.
"""

from collections.abc import Collection

from psycopg import sql

from engine.errors import TaskFailed
from engine.flow.execution.table_claims import find_claims
from engine.model.dataset import Dataset
from engine.store.as_org import AsOrg
from engine.store.database import Connection, Database, open_connection
from engine.store.rows.tables import LockedRelation, WrittenTable
from engine.store.run import fetch

_RUN_DEFERRED = sql.SQL("SET CONSTRAINTS ALL IMMEDIATE")


async def check_written(
    org: AsOrg,
    database: Database,
    outputs: Collection[Dataset],
    tables: Collection[tuple[str, str]],
) -> None:
    """Raise TaskFailed if the transaction changed or dropped the table of another dataset.

    ``tables`` are the tables of the outputs, checked by `check_target`.
    """
    rows = await fetch(org.conn, "tables.written", WrittenTable)
    if any(row.defers for row in rows):
        await org.execute(_RUN_DEFERRED)
        rows = await fetch(org.conn, "tables.written", WrittenTable)
    rows += await _altered(org.conn, database)
    others = [row for row in rows if (row.schema, row.table) not in tables]
    if not others:
        return
    names = {output.name for output in outputs}
    claims = await find_claims(org.conn, org.org_id, {row.table for row in others}, others)
    for row in others:
        for claim in claims:
            if claim.covers(row) and not (claim.is_ours and claim.dataset in names):
                raise TaskFailed(
                    f"the run also wrote to {row.schema}.{row.table}, which holds {claim}, "
                    "and was rolled back: find the trigger or function that writes there"
                )


async def _altered(conn: Connection, database: Database) -> list[WrittenTable]:
    """Fetch the tables truncated, renamed, altered or dropped by the transaction.

    Temporary objects have locks too, but are not found.
    """
    locked = await fetch(conn, "tables.locked", LockedRelation)
    if not locked:
        return []
    # Not from the pool: all of its connections could be waiting for another one.
    other = await open_connection(database.direct_url)
    try:
        return await fetch(
            other,
            "tables.altered",
            WrittenTable,
            oids=[relation.oid for relation in locked],
            row_versions=[relation.row_versions for relation in locked],
        )
    finally:
        await other.close()
