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
        InvalidInput: the schema or role is missing and cannot be created, or is not trustworthy.
    """
    session = await read_session(connection)
    if not session.may_create_schema:
        grant = statement("rights.grant_create").format(
            database=Identifier(session.database), me=Identifier(session.name)
        )
        raise InvalidInput(
            f"{session.name} may not create the schema knockon_source; ask an administrator of "
            f"the source to run: {plain(grant.as_string(connection))}"
        )
    await connection.execute(statement("schema.serialize"))
    await connection.execute(statement("schema.schema"), prepare=False)
    await check_owners(connection, session)
    await check_ownership(connection, session)
    if await _exists(connection) and await _is(connection, "schema.is_outdated"):
        await connection.execute(statement("schema.upgrade"), prepare=False)
    await connection.execute(statement("schema.tables"), prepare=False)
    await ensure_capture_role(connection, session)
    await connection.execute(session.format("grant"), prepare=False)
    return session


async def is_current(connection: AsyncConnection[Any]) -> bool:
    """Return whether the log has the tables and columns that this version reads."""
    if not await _exists(connection):
        return False
    is_outdated = await _is(connection, "schema.is_outdated")
    return not is_outdated and await _is(connection, "schema.is_complete")


async def upgrade(connection: AsyncConnection[Any]) -> None:
    """Upgrade a log created by an earlier version, including its rows.

    Raises:
        ServiceUnavailable: there is no log, or the connection's role may not upgrade it. No change
            is lost meanwhile, because the triggers continue to write.
    """
    if not await _exists(connection):
        raise ServiceUnavailable(
            "no table of the source is attached yet: run 'knockon attach' for one"
        )
    try:
        async with connection.transaction():
            await connection.execute(statement("schema.settings"), prepare=False)
            await prepare(connection)
    except (psycopg.errors.InsufficientPrivilege, InvalidInput) as error:
        raise ServiceUnavailable(
            "the source's change log has an earlier version and this role cannot upgrade it: "
            f"{str(error).strip()}; run 'knockon attach' once as the role that owns it"
        ) from error


@asynccontextmanager
async def patient_transaction(connection: AsyncConnection[Any], table: str) -> AsyncIterator[None]:
    """A transaction with a lock timeout.

    Raises:
        ServiceUnavailable: writers held a lock for too long.
        InvalidInput: the source rejects a setting, or the role lacks a privilege.
    """
    try:
        async with connection.transaction():
            await connection.execute(statement("schema.patience"), prepare=False)
            yield
    except psycopg.errors.LockNotAvailable as error:
        raise ServiceUnavailable(
            f"table {table} was locked by its writers for too long; retry when they have finished"
        ) from error
    except psycopg.errors.InvalidParameterValue as error:
        raise InvalidInput(
            f"changes of {table} cannot be logged, the source rejects a setting: {error}"
        ) from error
    except psycopg.errors.InsufficientPrivilege as error:
        raise InvalidInput(
            f"not permitted on table {table}: {str(error).strip()}; attach and detach as its owner"
        ) from error


async def _exists(connection: AsyncConnection[Any]) -> bool:
    return await _is(connection, "readers.log_exists")


async def _is(connection: AsyncConnection[Any], name: str) -> bool:
    cursor = connection.cursor(row_factory=scalar_row)
    await cursor.execute(statement(name))
    return bool(await cursor.fetchone())
