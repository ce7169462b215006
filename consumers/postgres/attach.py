"""Attach tables of a source database: from then on every change is logged there, durably.

The source need not be Knockon's own database. Attaching is safe to repeat: it replaces.
"""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import psycopg
import structlog
from psycopg import AsyncConnection
from psycopg.rows import scalar_row
from psycopg.sql import Identifier

from consumers.postgres.catalog import Table, read_table
from consumers.postgres.keys import KeyColumn, NoColumn, key_column
from consumers.postgres.repeats import repeats
from consumers.postgres.statements import statement
from consumers.postgres.triggers import KINDS, Attachment, trigger_name
from engine.errors import InvalidInput, ServiceUnavailable, UnknownName
from engine.partitions.space import PartitionSpace
from engine.partitions.time_dimension import TimeDimension

_log = structlog.get_logger(__name__)


async def attach(
    connection: AsyncConnection[Any],
    table: str,
    dataset: str,
    partitioning: Mapping[str, Any],
    columns: Mapping[str, str] | None = None,
    *,
    announce: bool = False,
) -> None:
    """Log the changes of a table, named as SQL writes it, as those of a dataset.

    `partitioning` is the dataset's, as JSON data; the column of a dimension is the one that
    `columns` gives for it, else its own "column", else the one of its name. With `announce` the
    partitions that the table already holds are logged too, so that they are built a first time.

    Raises:
        InvalidInput: the table or the partitioning cannot be used; nothing is changed.
        ServiceUnavailable: writers held the table for too long; nothing is changed.
    """
    space = PartitionSpace.from_spec(partitioning)
    source = await read_table(connection, table)
    attachment = Attachment(source, dataset, _keys(source, space, columns or {}))
    async with _patient_transaction(connection, table):
        await connection.execute(statement("schema.create"), prepare=False)
        await _store_repeats(connection, space)
        for kind in KINDS:
            await connection.execute(attachment.trigger(kind, connection), prepare=False)
    _log.info("attached", table=table, dataset=dataset)
    if announce:
        await _announce(connection, attachment)


async def detach(connection: AsyncConnection[Any], table: str, dataset: str) -> None:
    """Log no more changes of a table as those of a dataset; what was logged stays.

    Raises:
        UnknownName: there is no such table, or it was not attached to the dataset.
        ServiceUnavailable: writers held the table for too long; nothing is changed.
    """
    source = await read_table(connection, table)
    functions = await _functions(connection, source, dataset)
    if not functions:
        raise UnknownName(f"table {table} is not attached to {dataset!r}; check both names")
    async with _patient_transaction(connection, table):
        for function in functions:
            name = Identifier("knockon_source", function)
            await connection.execute(
                statement("attach.detach").format(function=name), prepare=False
            )
    _log.info("detached", table=table, dataset=dataset)


def _keys(
    table: Table, space: PartitionSpace, overrides: Mapping[str, str]
) -> tuple[tuple[str, KeyColumn], ...]:
    for name in overrides:
        space.index(name)
    named = {name: overrides.get(name, each.column or name) for name, each in space.dimensions}
    found = {name: table.column(column) for name, column in named.items()}
    keys = tuple(
        (name, key_column(each, found[name].name, found[name].type))
        for name, each in space.dimensions
    )
    return keys or (("", NoColumn("")),)


async def _store_repeats(connection: AsyncConnection[Any], space: PartitionSpace) -> None:
    for _, each in space.dimensions:
        if isinstance(each, TimeDimension):
            await connection.execute(statement("schema.check_zone"), {"zone": each.zone})
            lasts = repeats(each.grain, each.zone)
            window = {"zone": each.zone, "grain": each.grain}
            found = {"buckets": list(lasts), "lasts": list(lasts.values())}
            await connection.execute(statement("schema.store_repeats"), window | found)


async def _announce(connection: AsyncConnection[Any], attachment: Attachment) -> None:
    """Log all that is there: after the triggers are, so that no change falls in between."""
    async with connection.transaction():
        await connection.execute(statement("schema.settings"), prepare=False)
        await connection.execute(attachment.announcement())
        await connection.execute(statement("attach.ring"))


async def _functions(connection: AsyncConnection[Any], table: Table, dataset: str) -> list[str]:
    cursor = connection.cursor(row_factory=scalar_row)
    names = [trigger_name(dataset, kind) for kind in KINDS]
    await cursor.execute(statement("catalog.functions"), {"oid": table.oid, "triggers": names})
    return await cursor.fetchall()


@asynccontextmanager
async def _patient_transaction(connection: AsyncConnection[Any], table: str) -> AsyncIterator[None]:
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
