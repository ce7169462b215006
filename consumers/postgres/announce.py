"""Announce what a table holds: log its partitions as if their rows had just been inserted."""

from collections.abc import Collection
from typing import Any

from psycopg import AsyncConnection
from psycopg.rows import dict_row
from psycopg.sql import SQL, Identifier

from consumers.postgres.catalog import Relation
from consumers.postgres.statements import statement
from consumers.postgres.triggers import Attachment


async def announce_parts(
    connection: AsyncConnection[Any], attachment: Attachment, unannounced: Collection[int]
) -> None:
    """Log the rows of the table, or of some of its parts, once the triggers are in place.

    The relations are recorded as unannounced beforehand, so that a crash loses nothing.
    """
    table = attachment.table
    relations: tuple[Relation, ...] = (table,) if table.oid in unannounced else table.parts
    for relation in relations:
        if relation.oid in unannounced:
            async with connection.transaction():
                await connection.execute(statement("schema.settings"), prepare=False)
                await _announce(connection, attachment, relation)
                await _store(
                    connection, attachment, unannounced if relation is table else (relation.oid,)
                )
                await connection.execute(statement("attach.ring"))


async def _announce(
    connection: AsyncConnection[Any], attachment: Attachment, relation: Relation
) -> None:
    """Read a relation through a view, since a name may come to mean another relation meanwhile."""
    view = Identifier("knockon_source", f"announcement_{connection.info.backend_pid}")
    columns = attachment.key_columns
    listed = SQL(", ").join(map(Identifier, columns)) if columns else SQL("true AS present")
    create = statement("attach.view").format(view=view, columns=listed, table=relation.identifier)
    await connection.execute(create, prepare=False)
    if await _is_as_attached(connection, attachment, relation, view.as_string(connection)):
        await connection.execute(attachment.announcement(view), prepare=False)
    else:
        await _widen(connection, attachment)
    await connection.execute(statement("attach.drop_view").format(view=view), prepare=False)


async def _is_as_attached(
    connection: AsyncConnection[Any], attachment: Attachment, relation: Relation, view: str
) -> bool:
    columns = attachment.key_columns
    cursor = connection.cursor(row_factory=dict_row)
    await cursor.execute(statement("attach.viewed"), {"view": view, "columns": columns})
    types = [attachment.table.column(name).type_oid for name in columns]
    expected = {"oid": relation.oid, "is_table": True, "types": types}
    return await cursor.fetchall() == [expected]


async def _widen(connection: AsyncConnection[Any], attachment: Attachment) -> None:
    source = f"{attachment.table.schema}.{attachment.table.name}"
    what = {"org": attachment.org, "dataset": attachment.dataset, "source": source}
    await connection.execute(statement("attachments.widen"), what | {"columns": None})


async def _store(
    connection: AsyncConnection[Any], attachment: Attachment, parts: Collection[int]
) -> None:
    key = {
        "org": attachment.org,
        "dataset": attachment.dataset,
        "relation": attachment.table.oid,
        "parts": list(parts),
    }
    await connection.execute(statement("attachments.announced"), key)
