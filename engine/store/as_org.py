"""Execution of statements with the privileges of an org, within a transaction of the engine.

The statements run inside a function owned by the org's role, so that they cannot reset the role.
Any session state left behind (settings, temporary objects, prepared statements, advisory locks) is
removed in the same round trip, before it can affect a statement of the engine.
"""

import json
from dataclasses import dataclass
from uuid import UUID

from psycopg import sql
from psycopg.rows import DictRow

from engine.errors import TaskFailed
from engine.store.database import Connection
from engine.store.roles import run_function
from engine.store.session import COUNT_PREPARED, clean_session

_RUN = sql.SQL("""
SELECT pg_catalog.set_config('timezone', {zone}, true),
       pg_catalog.set_config('statement_timeout', {timeout}, true),
       ({prepared}) AS prepared;
SELECT line FROM {function}({statements}) AS line;
{clean};
SELECT pg_catalog.current_setting('transaction_read_only') AS read_only,
    ({prepared}) AS prepared,
    CASE WHEN pg_catalog.current_setting('server_version_num')::pg_catalog.int4 < 180000 THEN (
        SELECT pg_catalog.min(t.tgrelid::pg_catalog.regclass::pg_catalog.text)
        FROM pg_catalog.pg_trigger t
        LEFT JOIN pg_catalog.pg_constraint c ON c.oid = t.tgconstraint
        JOIN pg_catalog.pg_locks l ON l.relation = t.tgrelid
            AND l.pid = pg_catalog.pg_backend_pid() AND l.mode = 'RowExclusiveLock'
        WHERE t.tgdeferrable AND (NOT t.tgisinternal OR c.contype = 'x')) END AS deferring
""")
_NOTHING = sql.SQL("SELECT")


@dataclass(frozen=True, slots=True)
class AsOrg:
    """A connection in a transaction, on which statements run with the privileges of an org.

    The caller must close the connection if an error leaves the transaction: a failed statement
    leaves prepared statements and locks behind, which no rollback removes. ``zone`` and
    ``timeout_seconds`` apply to these statements only.
    """

    conn: Connection
    org_id: UUID
    zone: str
    timeout_seconds: int

    async def execute(self, *statements: sql.Composable) -> None:
        """Run statements that return nothing."""
        await self.fetch(*statements, _NOTHING)

    async def fetch(self, *statements: sql.Composable) -> list[DictRow]:
        """Run statements, and return the rows of the last one, with JSON's types.

        Raises psycopg's errors, and TaskFailed if the statements leave unsafe state in the session.
        """
        text = _RUN.format(
            zone=self.zone,
            timeout=f"{self.timeout_seconds}s",
            function=run_function(self.org_id),
            statements=[statement.as_string(self.conn) for statement in statements],
            clean=clean_session(self.conn),
            prepared=COUNT_PREPARED,
        )
        cursor = await self.conn.execute(text, prepare=False)
        results = [await part.fetchall() async for part in cursor.results() if part.description]
        _check(results[0][0], results[-1][0])
        _check_prepared(results[-2][0])
        return [json.loads(row["line"]) for row in results[1]]


def _check(before: DictRow, left: DictRow) -> None:
    """Reject state that runs code with the engine's privileges or makes its statements fail."""
    if left["prepared"] != before["prepared"]:
        raise TaskFailed(
            "the SELECT deallocated prepared statements in the session of the worker: remove that"
        )
    if left["read_only"] == "on":
        raise TaskFailed("the SELECT made the worker's transaction read-only: remove that")
    if left["deferring"]:
        raise TaskFailed(
            f"table {left['deferring']} has a deferrable trigger or exclusion constraint, which "
            "PostgreSQL before 18 would run with Knockon's rights at the commit: make it not "
            "deferrable, or upgrade to PostgreSQL 18"
        )


def _check_prepared(left: DictRow) -> None:
    if left["prepared"]:
        raise TaskFailed(
            "the SELECT prepared a statement in the session of the worker: remove that"
        )
