"""Privileges in a source database: ownership of the change log, and the capture role.

Trigger functions run within the statements of any writer, including superusers. They belong to a
capture role that can only insert into the change log. Objects in the log's schema must belong to
roles that the attaching role trusts.
"""

import re
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

import psycopg
from psycopg import AsyncConnection
from psycopg.rows import class_row, dict_row
from psycopg.sql import Composed, Identifier

from consumers.postgres.statements import statement
from engine.errors import InvalidInput

_MAX_NAME_BYTES = 63
_SEPARATE_SET_OPTION = 160_000


@dataclass(frozen=True)
class Session:
    """The current role and database."""

    name: str
    database: str
    version: int
    may_create_roles: bool
    may_create_schema: bool

    @property
    def capture(self) -> str:
        """The name of the database's capture role."""
        name = f"knockon_capture_{self.database}"
        if len(name.encode()) <= _MAX_NAME_BYTES:
            return name
        return f"knockon_capture_{sha256(self.database.encode()).hexdigest()[:12]}"

    def format(self, name: str) -> Composed:
        """A statement with the names of the session's role and the capture role."""
        return statement(f"rights.{name}").format(
            capture=Identifier(self.capture), me=Identifier(self.name)
        )

    @property
    def join(self) -> Composed:
        """The statement that lets the current role create functions as the capture role."""
        has_option = self.version >= _SEPARATE_SET_OPTION
        return self.format("join_role_to_set" if has_option else "join_role")


async def read_session(connection: AsyncConnection[Any]) -> Session:
    """Read the current role and database."""
    cursor = connection.cursor(row_factory=class_row(Session))
    await cursor.execute(statement("rights.session"))
    (row,) = await cursor.fetchall()
    return row


async def ensure_capture_role(connection: AsyncConnection[Any], session: Session) -> None:
    """Create the capture role if it is missing, and become a member of it.

    Raises:
        InvalidInput: the role is missing and the current role may not create it, or it has
            dangerous privileges. The message has the statements for an administrator.
    """
    role = await _capture_role(connection, session)
    if role is None and session.may_create_roles:
        await connection.execute(session.format("create_role"), prepare=False)
        role = await _capture_role(connection, session)
    if role is None:
        needed = [session.format("create_role"), session.join]
        raise _needs_administrator("the capture role does not exist", connection, needed)
    if role["excess"]:
        raise InvalidInput(
            f"role {session.capture} {', '.join(role['excess'])}: triggers of any table's owner "
            "would run with these rights; revoke them and attach again"
        )
    if not role["is_ours"]:
        try:
            async with connection.transaction():
                await connection.execute(session.join, prepare=False)
        except psycopg.errors.InsufficientPrivilege as error:
            problem = f"{session.name} is not a member of the capture role"
            raise _needs_administrator(problem, connection, [session.join]) from error


async def check_owners(connection: AsyncConnection[Any], session: Session) -> None:
    """Reject a schema that lets another role run code within a writer's statement.

    Raises:
        InvalidInput: with all findings and the remedy.
    """
    if findings := await _excessive(connection, session, trusts_owner=False):
        raise InvalidInput(
            f"the source's change log could run code of another role: {'; '.join(findings)}; "
            f"{session.name} does not belong to that role. Attach as that role, or revoke the "
            "right, or check who created the schema, drop it with DROP SCHEMA knockon_source "
            "CASCADE, and attach all tables again"
        )


async def excessive_rights(connection: AsyncConnection[Any]) -> list[str]:
    """The rights of other roles that `attach` would reject, if the log's owner is trusted."""
    return await _excessive(connection, await read_session(connection), trusts_owner=True)


async def _excessive(
    connection: AsyncConnection[Any], session: Session, *, trusts_owner: bool
) -> list[str]:
    cursor = connection.cursor(row_factory=dict_row)
    parameters = {"capture": session.capture, "trusts_owner": trusts_owner}
    await cursor.execute(statement("rights.excessive"), parameters)
    return [row["finding"] for row in await cursor.fetchall()]


async def check_ownership(connection: AsyncConnection[Any], session: Session) -> None:
    """Raise InvalidInput if the change log belongs to a role that the current one cannot act as."""
    row = await _row(connection, "rights.owner")
    if row is not None and not row["is_ours"]:
        raise InvalidInput(
            f"the source's change log belongs to {row['owner']}, and {session.name} is not a "
            "member of that role; attach as a member of it, who must own the table as well"
        )


async def _capture_role(
    connection: AsyncConnection[Any], session: Session
) -> dict[str, Any] | None:
    return await _row(connection, "rights.capture", capture=session.capture)


async def _row(
    connection: AsyncConnection[Any], name: str, **parameters: Any
) -> dict[str, Any] | None:
    cursor = connection.cursor(row_factory=dict_row)
    await cursor.execute(statement(name), parameters)
    return await cursor.fetchone()


def _needs_administrator(
    problem: str, connection: AsyncConnection[Any], statements: list[Composed]
) -> InvalidInput:
    needed = "; ".join(plain(sql.as_string(connection)) for sql in statements)
    return InvalidInput(f"{problem}; ask an administrator of the source to run: {needed}")


def plain(sql: str) -> str:
    """A statement for a message, without the leading comment that has its name."""
    return re.sub(r"^/\*.*?\*/\s*", "", sql)
