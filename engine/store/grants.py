"""Privileges granted by operators to the SQL jobs of an org."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import psycopg
from psycopg import sql

from engine.errors import InvalidInput, UnknownName
from engine.model.tables import TableName, table_name
from engine.store.database import Connection
from engine.store.rows.roles import OrgRole, RemainingRight
from engine.store.run import fetch, fetch_one

Access = Literal["read", "write", "create"]
_STATEMENTS = {
    "read": sql.SQL("GRANT SELECT ON TABLE {object} TO {role}"),
    "write": sql.SQL("GRANT SELECT, INSERT, UPDATE, DELETE ON TABLE {object} TO {role}"),
    "create": sql.SQL("GRANT CREATE ON SCHEMA {object} TO {role}"),
}
_REVOKE = {
    "read": sql.SQL("REVOKE ALL ON TABLE {object} FROM {role}"),
    "write": sql.SQL("REVOKE INSERT, UPDATE, DELETE ON TABLE {object} FROM {role}"),
    "create": sql.SQL("REVOKE CREATE ON SCHEMA {object} FROM {role}"),
}
_PRIVILEGES: Mapping[Access, Sequence[str]] = {
    "read": ("SELECT", "INSERT", "UPDATE", "DELETE"),
    "write": ("INSERT", "UPDATE", "DELETE"),
    "create": ("CREATE",),
}
"""The privileges removed by a revoke."""
_USE = sql.SQL("GRANT USAGE ON SCHEMA {} TO {}")
_CREATE_SCHEMA = sql.SQL("CREATE SCHEMA IF NOT EXISTS {}")


@dataclass(frozen=True, slots=True)
class Grant:
    """A privilege on a table or, with ``create``, the privilege to create tables in a schema."""

    access: Access
    schema: str
    name: str | None = None

    def __str__(self) -> str:
        return self.schema if self.name is None else f"{self.schema}.{self.name}"

    @property
    def object(self) -> sql.Identifier:
        """The table or the schema."""
        return sql.Identifier(*((self.schema,) if self.name is None else (self.schema, self.name)))

    @property
    def is_reserved(self) -> bool:
        """True for the schemas of Knockon and PostgreSQL, on which jobs get no privileges."""
        return TableName(self.schema, "").is_reserved

    def quoted(self, conn: Connection) -> str:
        """Quote the table or schema for SQL."""
        return self.object.as_string(conn)


def parse_grant(text: str, access: Access) -> Grant:
    """Parse the name of a table or schema into a grant. Raises InvalidInput.

    Names have the same syntax as ``storage.table``.
    """
    name = table_name(text)
    right = Grant(access, name.name) if access == "create" else Grant(access, *name.parts)
    if right.is_reserved:
        raise InvalidInput(f"{text} belongs to Knockon or PostgreSQL: no job is given it")
    return right


async def grant_to_org(conn: Connection, slug: str, right: Grant) -> None:
    """Grant a privilege to the jobs of an org. Raises InvalidInput, UnknownName."""
    await _change(conn, slug, right, grant)


async def revoke_from_org(conn: Connection, slug: str, right: Grant) -> Sequence[str]:
    """Revoke a privilege from the jobs of an org; returns the reasons for remaining privileges.

    Raises InvalidInput, UnknownName.
    """
    role = await _change(conn, slug, right, revoke)
    privileges = list(_PRIVILEGES[right.access])
    table = {"schema": right.schema, "table_name": right.name}
    rows = await fetch(
        conn, "roles.remaining", RemainingRight, role=role, privileges=privileges, **table
    )
    return [row.reason for row in rows]


async def grant(conn: Connection, role: str, right: Grant) -> None:
    """Grant a privilege to a role, along with USAGE on the schema; ``create`` creates the schema.

    Raises psycopg's errors if the connection's user lacks the right to grant, and InvalidInput for
    a reserved schema.
    """
    if right.is_reserved:
        raise InvalidInput(f"{right} belongs to Knockon or PostgreSQL: no job is given it")
    schema, to = sql.Identifier(right.schema), sql.Identifier(role)
    if right.access == "create":
        await conn.execute(_CREATE_SCHEMA.format(schema))
    await conn.execute(_USE.format(schema, to))
    await conn.execute(_STATEMENTS[right.access].format(object=right.object, role=to))


async def revoke(conn: Connection, role: str, right: Grant) -> None:
    """Revoke a privilege; ``read`` revokes every privilege on the table."""
    to = sql.Identifier(role)
    await conn.execute(_REVOKE[right.access].format(object=right.object, role=to))


async def _change(
    conn: Connection,
    slug: str,
    right: Grant,
    change: Callable[[Connection, str, Grant], Awaitable[None]],
) -> str:
    """Grant or revoke a privilege of an org's role, and return the role."""
    org = await fetch_one(conn, "roles.orgs", OrgRole, slug=slug)
    if org is None:
        raise UnknownName(f"there is no org {slug!r}: deploy to it first, or name another")
    if org.role is None:
        raise InvalidInput(
            f"org {slug!r} has no database role for its SQL jobs: run the statements that "
            "'knockon doctor' prints, as a user with the right to create roles"
        )
    try:
        await change(conn, org.role, right)
    except (psycopg.errors.UndefinedTable, psycopg.errors.InvalidSchemaName) as error:
        raise InvalidInput(f"there is no {right}: create it first, or name another") from error
    except psycopg.errors.InsufficientPrivilege as error:
        raise InvalidInput(
            f"Knockon's own user may not change the rights to {right} "
            f"({error.diag.message_primary}): run this with the database address of its owner"
        ) from error
    return str(org.role)
