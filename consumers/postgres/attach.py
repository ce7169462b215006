"""Attach tables of a source database: from then on every change is logged there, durably.

The source need not be Knockon's own database. Attaching is safe to repeat: it replaces, and repairs
an attachment whose table has changed underneath.
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
    """Log the changes of a table, named as SQL writes it, as those of a dataset of an org.

    `partitioning` is the dataset's, as JSON data; the column of a dimension is the one that
    `columns` gives for it, else its own "column", else the one of its name. With `announce` the
    partitions that the table already holds are logged too, so that they are built a first time. If
    the table was attached before and has changed underneath since, changes that may have been
    missed are logged as well.

    Raises:
        InvalidInput: the table or the partitioning cannot be used, or the role may not attach;
            nothing is changed.
        ServiceUnavailable: writers held the table for too long; nothing is changed.
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
        await _expect(connection, tenant)
        await drop_legacy(connection, tenant, attachment)
        if announce:
            unannounced.add(source.oid)
        await _store(connection, attachment, partitioning, columns or {}, unannounced)
    _log.info("attached", table=table, dataset=dataset)
    await announce_parts(connection, attachment, unannounced)


async def reattach(connection: AsyncConnection[Any], tenant: Tenant, stored: Stored) -> None:
    """Attach a table again as it was attached before. Raises what `attach` raises."""
    name = Identifier(stored.schema_name, stored.table_name).as_string(connection)
    if stored.named is None and stored.current_name is not None:
        name = stored.current_name
    partitioning = msgspec.json.decode(stored.partitioning)
    columns = msgspec.json.decode(stored.columns)
    await attach(connection, tenant, name, stored.dataset, partitioning, columns)


async def detach(
    connection: AsyncConnection[Any], tenant: Tenant, table: str, dataset: str
) -> None:
    """Log no more changes of a table as those of an org's dataset; what was logged stays.

    The table may have been dropped or renamed meanwhile.

    Raises:
        UnknownName: it was not attached to the dataset.
        InvalidInput: the role may not detach; nothing is changed.
        ServiceUnavailable: writers held the table for too long; nothing is changed.
    """
    async with patient_transaction(connection, table):
        oid = await resolve(connection, table)
        await connection.execute(statement("schema.settings"), prepare=False)
        found = await _named(connection, tenant, table, dataset, oid)
        legacy = await legacy_functions(connection, tenant, dataset, oid)
        if not found and not legacy:
            raise UnknownName(f"table {table} is not attached to {dataset!r}; check both names")
        for stored in found:
            await drop_triggers(connection, stored.org, dataset, stored.relation)
            await _remove(connection, stored)
        if not found and oid is not None:
            await drop_triggers(connection, None, dataset, oid)
    _log.info("detached", table=table, dataset=dataset)


async def _locked(connection: AsyncConnection[Any], table: str) -> Table:
    """Find a table and lock out its writers, and with them any change of its name or columns."""
    oid = await resolve(connection, table)
    await connection.execute(statement("schema.settings"), prepare=False)
    found = await read_table(connection, table, oid)
    await connection.execute(statement("attach.lock").format(table=found.identifier), prepare=False)
    name = found.identifier.as_string(connection)
    if await resolve(connection, name) != oid:
        raise InvalidInput(f"table {table} was replaced while it was being attached; try again")
    return await read_table(connection, table, oid)


def _keys(
    table: Table, space: PartitionSpace, overrides: Mapping[str, str]
) -> tuple[tuple[str, KeyColumn], ...]:
    for name in overrides:
        space.index(name)
    named = {name: overrides.get(name, each.column or name) for name, each in space.dimensions}
    found = {name: table.column(column) for name, column in named.items()}
    for column in found.values():
        if column.is_virtual:
            raise InvalidInput(
                f"column {column.name!r} is a virtual generated column, which triggers cannot see; "
                "make it STORED or name another column"
            )
    keys = tuple(
        (
            name,
            key_column(each, found[name].name, found[name].type, is_builtin=found[name].is_builtin),
        )
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


async def _replace(connection: AsyncConnection[Any], attachment: Attachment) -> set[int]:
    """Take the place of earlier attachments, and log what their triggers may have missed.

    Returns the relations whose rows have still to be announced.
    """
    table, dataset = attachment.table, attachment.dataset
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
            await drop_triggers(
                connection, stored.org, dataset, stored.relation, keeping=_kept(attachment, is_same)
            )
            await _remove(connection, stored)
    parts = {table.oid, *(part.oid for part in table.parts)}
    return {table.oid} if unannounced - parts else unannounced


def _kept(attachment: Attachment, is_same: bool) -> Collection[int]:
    """The relations whose triggers are replaced in place."""
    table = attachment.table
    return {table.oid, *(part.oid for part in table.parts)} if is_same else ()


async def _widen(
    connection: AsyncConnection[Any], attachment: Attachment, drift: Drift
) -> Collection[int]:
    """Log a change that no trigger has seen; returns the relations to announce."""
    source = f"{attachment.table.schema}.{attachment.table.name}"
    what = {"org": attachment.org, "dataset": attachment.dataset, "source": source}
    if drift.is_total:
        await connection.execute(statement("attachments.widen"), what | {"columns": None})
        return {attachment.table.oid}
    if drift.columns:
        columns = {"columns": list(drift.columns)}
        await connection.execute(statement("attachments.widen"), what | columns)
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


async def _expect(connection: AsyncConnection[Any], tenant: Tenant) -> None:
    who = {"org": tenant.org, "consumer": tenant.consumer}
    await connection.execute(statement("attachments.expect"), who)


async def _remove(connection: AsyncConnection[Any], stored: Stored) -> None:
    key = {"org": stored.org, "dataset": stored.dataset, "relation": stored.relation}
    await connection.execute(statement("attachments.remove"), key)


async def _named(
    connection: AsyncConnection[Any], tenant: Tenant, table: str, dataset: str, oid: int | None
) -> Sequence[Stored]:
    """An org's attachments of a table to a dataset, found by identity or by recorded name."""
    if not await is_current(connection):
        return ()
    stored = await stored_attachments(connection, tenant.org)
    mine = [each for each in stored if each.dataset == dataset]
    parts = await _parts_of(connection, table)
    return [each for each in mine if each.relation == oid or _has_name(each, parts)]


def _has_name(stored: Stored, parts: Sequence[str]) -> bool:
    return [stored.schema_name, stored.table_name][-len(parts) :] == list(parts)


async def _parts_of(connection: AsyncConnection[Any], table: str) -> Sequence[str]:
    cursor = connection.cursor(row_factory=scalar_row)
    await cursor.execute(statement("catalog.parse"), {"table": table})
    return await cursor.fetchone() or ()
