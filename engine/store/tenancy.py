"""A database in which PostgreSQL shows and changes the rows of one org at a time.

Sessions have the rights of the service's role. Each transaction sets its org, which the policies of
row-level security compare; outside a transaction, and without an org, no row is visible.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Self
from uuid import UUID

from psycopg import AsyncConnection, AsyncCursor, AsyncTransaction, sql
from psycopg.abc import Query
from psycopg.pq import TransactionStatus
from psycopg.rows import DictRow

from engine.errors import ServiceUnavailable
from engine.store.database import Connection, Database
from engine.store.roles import service_role
from engine.store.rows.roles import RowSecurity
from engine.store.run import fetch

_SET_ORG = sql.SQL("SET LOCAL knockon.org_id = {}")
_SET_ROLE = sql.SQL("SET ROLE {}")


class TenantConnection(AsyncConnection[DictRow]):
    """A connection whose transactions are restricted to the org ``org_id``."""

    org_id: UUID | None = None

    @asynccontextmanager
    async def transaction(
        self, savepoint_name: str | None = None, force_rollback: bool = False
    ) -> AsyncIterator[AsyncTransaction]:
        """Start a transaction, in which the org is set, or a savepoint within one."""
        is_outermost = self.info.transaction_status is TransactionStatus.IDLE
        async with super().transaction(savepoint_name, force_rollback) as transaction:
            if is_outermost and self.org_id is not None:
                await self.execute(_SET_ORG.format(str(self.org_id)))
            yield transaction

    async def execute(self, query: Query, *args: Any, **options: Any) -> AsyncCursor[DictRow]:
        """Execute a statement, outside a transaction in one of its own."""
        if self.org_id is None or self.info.transaction_status is not TransactionStatus.IDLE:
            return await super().execute(query, *args, **options)
        async with self.transaction():
            return await super().execute(query, *args, **options)


class TenantDatabase(Database):
    """A database restricted to the rights of the service's role."""

    connection_class: type[Connection] = TenantConnection

    @classmethod
    async def open(cls, url: str, **options: Any) -> Self:
        """Connect as `Database.open` does.

        Raises ServiceUnavailable if row-level security does not restrict the sessions.
        """
        database = await super().open(url, **options)
        try:
            async with database.connection() as conn:
                await _require_restriction(conn)
        except BaseException:
            await database.close()
            raise
        return database

    @staticmethod
    async def configure(connection: Connection) -> None:
        """Give the session the rights of the service's role, if its user is a member."""
        await Database.configure(connection)
        role = await service_role(connection)
        if role is not None:
            await connection.execute(_SET_ROLE.format(sql.Identifier(role)))

    @asynccontextmanager
    async def org_connection(self, org_id: UUID) -> AsyncIterator[Connection]:
        """Lend a connection whose transactions are restricted to an org, in fair turns."""
        async with self.turns.turn(org_id), self.connection() as connection:
            assert isinstance(connection, TenantConnection)  # noqa: S101
            connection.org_id = org_id
            try:
                yield connection
            finally:
                connection.org_id = None


async def _require_restriction(conn: Connection) -> None:
    (row,) = await fetch(conn, "roles.confinement", RowSecurity)
    if not row.is_active:
        raise ServiceUnavailable(
            "row-level security does not confine the user of the connection to one org: run "
            "'knockon migrate' with a user who may create roles, and connect as a member of the "
            "role of the service; 'knockon doctor' prints missing roles"
        )
