"""The schema `knockon_source` of a source database: created, upgraded, checked and granted."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import psycopg
from psycopg import AsyncConnection
from psycopg.rows import scalar_row
from psycopg.sql import Identifier

from consumers.postgres.rights import (
    Session,
    check_owners,
    check_ownership,
    ensure_capture_role,
    plain,
    read_session,
)
from consumers.postgres.statements import statement
from engine.errors import InvalidInput, ServiceUnavailable


async def prepare(connection: AsyncConnection[Any]) -> Session:
    """Create or upgrade the schema and the capture role within the current transaction.

    Raises:
        InvalidInput: the schema or the role is missing and may not be created, or not trustworthy.
    """
    session = await read_session(connection)
    if not session.may_create_schema:
        raise InvalidInput(
            f"{session.name} may not create the schema knockon_source; have an administrator of "
            f"the source run: {_grant_create(connection, session)}"
        )
    await connection.execute(statement("schema.serialize"))
    await connection.execute(statement("schema.schema"), prepare=False)
    await check_owners(connection, session)
    await check_ownership(connection, session)
    if await _is_there(connection) and await _is(connection, "schema.is_outdated"):
        await connection.execute(statement("schema.upgrade"), prepare=False)
    await connection.execute(statement("schema.tables"), prepare=False)
    await ensure_capture_role(connection, session)
    await connection.execute(session.format("grant"), prepare=False)
    return session


async def is_current(connection: AsyncConnection[Any]) -> bool:
    """Whether the log has the tables and columns that this version reads."""
    if not await _is_there(connection):
        return False
    is_outdated = await _is(connection, "schema.is_outdated")
    return not is_outdated and await _is(connection, "schema.is_complete")


async def upgrade(connection: AsyncConnection[Any]) -> None:
    """Bring a log made by an earlier version to this one, with everything in it.

    Raises:
        ServiceUnavailable: there is no log, or the connection's role may not upgrade it. Nothing is
            lost meanwhile: the triggers go on writing.
    """
    if not await _is_there(connection):
        raise ServiceUnavailable("no table of the source is attached yet")
    try:
        async with connection.transaction():
            await connection.execute(statement("schema.settings"), prepare=False)
            await prepare(connection)
    except (psycopg.errors.InsufficientPrivilege, InvalidInput) as error:
        raise ServiceUnavailable(
            "the source's change log is of an earlier version and cannot be upgraded by this role: "
            f"{str(error).strip()}; run 'knockon attach' once as the role that owns it"
        ) from error


@asynccontextmanager
async def patient_transaction(connection: AsyncConnection[Any], table: str) -> AsyncIterator[None]:
    """A transaction that gives up where writers hold a lock for long.

    Raises:
        ServiceUnavailable: they did.
        InvalidInput: the source refuses a setting or a right.
    """
    try:
        async with connection.transaction():
            await connection.execute(statement("schema.patience"), prepare=False)
            yield
    except psycopg.errors.LockNotAvailable as error:
        raise ServiceUnavailable(
            f"table {table} was locked by its writers for too long; try again when they are done"
        ) from error
    except psycopg.errors.InvalidParameterValue as error:
        raise InvalidInput(f"the source cannot log {table}: {error}") from error
    except psycopg.errors.InsufficientPrivilege as error:
        raise InvalidInput(
            f"not permitted on table {table}: {str(error).strip()}; attach and detach as its owner"
        ) from error


def _grant_create(connection: AsyncConnection[Any], session: Session) -> str:
    create = statement("rights.grant_create").format(
        database=Identifier(session.database), me=Identifier(session.name)
    )
    return plain(create.as_string(connection))


async def _is_there(connection: AsyncConnection[Any]) -> bool:
    return await _is(connection, "readers.log")


async def _is(connection: AsyncConnection[Any], name: str) -> bool:
    cursor = connection.cursor(row_factory=scalar_row)
    await cursor.execute(statement(name))
    return bool(await cursor.fetchone())
