"""Attaching tables of a source database: triggers log every change durably in the source.

The source may be any database. Attaching is idempotent: it replaces an earlier attachment, and
repairs one whose table has drifted.
"""

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import msgspec
import structlog
from psycopg import AsyncConnection
from psycopg.rows import scalar_row
from psycopg.sql import Identifier

from consumers.postgres.announce import announce_parts
from consumers.postgres.attachments import (
    Drift,
    Stored,
    find_drift,
    read_shape,
    stored_attachments,
)
from consumers.postgres.capture import (
    create_triggers,
    drop_legacy,
    drop_triggers,
    legacy_functions,
)
from consumers.postgres.catalog import Table, read_table, resolve
from consumers.postgres.keys import KeyColumn, NoColumn, key_column
from consumers.postgres.repeats import repeats
from consumers.postgres.schema import is_current, patient_transaction, prepare
from consumers.postgres.statements import statement
from consumers.postgres.triggers import Attachment, Tenant
from engine.errors import InvalidInput, UnknownName
from engine.model.tables import sql_name
from engine.partitions.space import PartitionSpace
from engine.partitions.time_dimension import TimeDimension

_log = structlog.get_logger(__name__)


async def attach(
    connection: AsyncConnection[Any],
    tenant: Tenant,
    table: str,
    dataset: str,
    partitioning: Mapping[str, Any],
    columns: Mapping[str, str] | None = None,
    *,
    announce: bool = False,
) -> None:
    """Log the changes of a table, named in SQL syntax, as changes of a dataset of an org.

    `partitioning` is that of the dataset, as JSON data. The column of a dimension comes from
    `columns`, else from its "column", else it has the dimension's name. With `announce`, the
    partitions that the table already contains are logged, so that they are built a first time. If
    the table was attached before and has drifted, changes that may have been missed are logged.

    Raises:
        InvalidInput: the table or the partitioning is not usable, or the role may not attach;
            nothing is changed.
        ServiceUnavailable: writers locked the table for too long; nothing is changed.
    """
    space = PartitionSpace.from_spec(partitioning)
    async with patient_transaction(connection, table):
        source = await _locked(connection, table)
        keys = _keys(source, space, columns or {})
        attachment = Attachment(tenant.org, source, dataset, keys)
        session = await prepare(connection)
        await _store_repeats(connection, space)
        unannounced = await _replace(connection, attachment)
        await create_triggers(connection, session, attachment)
        reader = {"org": tenant.org, "consumer": tenant.consumer}
        await connection.execute(statement("attachments.expect"), reader)
        await drop_legacy(connection, tenant, attachment)
        if announce:
            unannounced.add(source.oid)
        await _store(connection, attachment, partitioning, columns or {}, unannounced)
    _log.info("attached", table=table, dataset=dataset)
    await announce_parts(connection, attachment, unannounced)


async def check_declared(
    connection: AsyncConnection[Any], table: str, dataset: str, declared: str
) -> None:
    """Check that a table is the ``declared`` one, named in the DAG file of its dataset.

    Raises:
        UnknownName: the table does not exist.
        InvalidInput: it is another table, or not a table.
    """
    found = await read_table(connection, table, await resolve(connection, table))
    expected = sql_name(declared).qualified
    if (found.schema, found.name) != expected:
        raise InvalidInput(
            f"source {dataset!r} is the table {declared} in its DAG file, not "
            f"{found.schema}.{found.name}: attach {declared}, or name the other table in the file "
            "and deploy it"
        )


async def reattach(connection: AsyncConnection[Any], tenant: Tenant, stored: Stored) -> None:
    """Attach a table again with its recorded settings. Raises the same errors as `attach`."""
    name = Identifier(stored.schema_name, stored.table_name).as_string(connection)
    if stored.named is None and stored.current_name is not None:
        name = stored.current_name
    partitioning = msgspec.json.decode(stored.partitioning)
    columns = msgspec.json.decode(stored.columns)
    await attach(connection, tenant, name, stored.dataset, partitioning, columns)


async def detach(
    connection: AsyncConnection[Any], tenant: Tenant, table: str, dataset: str
) -> None:
    """Stop logging the changes of a table as changes of an org's dataset; logged changes stay.

    The table may have been dropped or renamed since it was attached.

    Raises:
        UnknownName: the table is not attached to the dataset.
        InvalidInput: the role may not detach; nothing is changed.
        ServiceUnavailable: writers locked the table for too long; nothing is changed.
    """
    async with patient_transaction(connection, table):
        oid = await resolve(connection, table)
        await connection.execute(statement("schema.settings"), prepare=False)
        attached = await _attachments_of(connection, tenant, table, dataset, oid)
        legacy = await legacy_functions(connection, tenant, dataset, oid)
        if not attached and not legacy:
            raise UnknownName(f"table {table} is not attached to {dataset!r}; check both names")
        for stored in attached:
            await drop_triggers(connection, stored.org, dataset, stored.relation)
            await _remove(connection, stored)
        if not attached and oid is not None:
            await drop_triggers(connection, None, dataset, oid)
    _log.info("detached", table=table, dataset=dataset)


async def _locked(connection: AsyncConnection[Any], table: str) -> Table:
    """Lock a table against writes and changes of its name or columns, and read its catalog."""
    oid = await resolve(connection, table)
    await connection.execute(statement("schema.settings"), prepare=False)
    identifier = (await read_table(connection, table, oid)).identifier
    await connection.execute(statement("attach.lock").format(table=identifier), prepare=False)
    if await resolve(connection, identifier.as_string(connection)) != oid:
        raise InvalidInput(f"table {table} was replaced while it was being attached; try again")
    return await read_table(connection, table, oid)


def _keys(
    table: Table, space: PartitionSpace, overrides: Mapping[str, str]
) -> tuple[tuple[str, KeyColumn], ...]:
    """The key column of each dimension, by the dimension's name."""
    for name in overrides:
        space.index(name)
    columns = {
        name: table.column(overrides.get(name, dimension.column or name))
        for name, dimension in space.dimensions
    }
    for column in columns.values():
        if column.is_virtual:
            raise InvalidInput(
                f"column {column.name!r} is a virtual generated column, which triggers cannot "
                "read; make it STORED or name another column"
            )
    keys = tuple(
        (
            name,
            key_column(
                dimension,
                columns[name].name,
                columns[name].type,
                is_builtin=columns[name].is_builtin,
            ),
        )
        for name, dimension in space.dimensions
    )
    return keys or (("", NoColumn("")),)


async def _store_repeats(connection: AsyncConnection[Any], space: PartitionSpace) -> None:
    for _, dimension in space.dimensions:
        if isinstance(dimension, TimeDimension):
            await connection.execute(statement("schema.check_zone"), {"zone": dimension.zone})
            lasts = repeats(dimension)
            window = {"zone": dimension.zone, "grain": dimension.label}
            repeated = {"buckets": list(lasts), "lasts": list(lasts.values())}
            await connection.execute(statement("schema.store_repeats"), window | repeated)


async def _replace(connection: AsyncConnection[Any], attachment: Attachment) -> set[int]:
    """Remove earlier attachments of the dataset, and log changes their triggers may have missed.

    Returns the relations whose rows must still be announced.
    """
    table, dataset = attachment.table, attachment.dataset
    relations = {table.oid, *(part.oid for part in table.parts)}
    unannounced: set[int] = set()
    for stored in await stored_attachments(connection, attachment.org):
        is_same = stored.relation == table.oid
        has_name = (stored.schema_name, stored.table_name) == (table.schema, table.name)
        if stored.dataset == dataset and (is_same or has_name):
            shape = await read_shape(connection, attachment.org, dataset, stored.relation)
            drift = find_drift(stored, shape)
            unannounced.update(stored.unannounced)
            if drift is not None:
                unannounced.update(await _widen(connection, attachment, drift))
            # Triggers of the same table are replaced in place later.
            keeping = relations if is_same else ()
            await drop_triggers(connection, stored.org, dataset, stored.relation, keeping=keeping)
            await _remove(connection, stored)
    return {table.oid} if unannounced - relations else unannounced


async def _widen(
    connection: AsyncConnection[Any], attachment: Attachment, drift: Drift
) -> Collection[int]:
    """Log the changes that a drift may have hidden; returns the relations to announce."""
    source = f"{attachment.table.schema}.{attachment.table.name}"
    row = {"org": attachment.org, "dataset": attachment.dataset, "source": source}
    if drift.is_total:
        await connection.execute(statement("attachments.widen"), row | {"columns": None})
        return {attachment.table.oid}
    if drift.columns:
        columns = {"columns": list(drift.columns)}
        await connection.execute(statement("attachments.widen"), row | columns)
    return drift.new_parts


async def _store(
    connection: AsyncConnection[Any],
    attachment: Attachment,
    partitioning: Mapping[str, Any],
    columns: Mapping[str, str],
    unannounced: Collection[int],
) -> None:
    table = attachment.table
    shape = await read_shape(connection, attachment.org, attachment.dataset, table.oid)
    row = {
        "org": attachment.org,
        "dataset": attachment.dataset,
        "relation": table.oid,
        "schema": table.schema,
        "name": table.name,
        "partitioning": msgspec.json.encode(partitioning).decode(),
        "columns": msgspec.json.encode(columns).decode(),
        "shape": shape,
        "unannounced": sorted(unannounced),
    }
    await connection.execute(statement("attachments.add"), row)


async def _remove(connection: AsyncConnection[Any], stored: Stored) -> None:
    key = {"org": stored.org, "dataset": stored.dataset, "relation": stored.relation}
    await connection.execute(statement("attachments.remove"), key)


async def _attachments_of(
    connection: AsyncConnection[Any], tenant: Tenant, table: str, dataset: str, oid: int | None
) -> Sequence[Stored]:
    """An org's attachments of a table to a dataset, matched by oid or by recorded name."""
    if not await is_current(connection):
        return ()
    attached = await stored_attachments(connection, tenant.org)
    cursor = connection.cursor(row_factory=scalar_row)
    await cursor.execute(statement("catalog.parse"), {"table": table})
    name = await cursor.fetchone() or ()
    return [
        stored
        for stored in attached
        if stored.dataset == dataset and (stored.relation == oid or _has_name(stored, name))
    ]


def _has_name(stored: Stored, name: Sequence[str]) -> bool:
    """Return whether a name, with or without schema, is that of an attached table."""
    return [stored.schema_name, stored.table_name][-len(name) :] == list(name)
