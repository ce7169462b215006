"""Announce what a table holds: log its partitions as if their rows had just been inserted."""

from collections.abc import Collection
from typing import Any

from psycopg import AsyncConnection
from psycopg.rows import dict_row, scalar_row, tuple_row
from psycopg.sql import Identifier

from consumers.postgres.catalog import Relation
from consumers.postgres.statements import statement
from consumers.postgres.triggers import Attachment
from engine.errors import InvalidInput


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
            found = await _read(connection, attachment, relation)
            async with connection.transaction():
                await connection.execute(statement("schema.settings"), prepare=False)
                if found is None:
                    await _widen(connection, attachment)
                for row in found or ():
                    await connection.execute(statement("attach.found"), row, prepare=False)
                await _store(
                    connection, attachment, unannounced if relation is table else (relation.oid,)
                )
                await connection.execute(statement("attach.ring"))


async def _read(
    connection: AsyncConnection[Any], attachment: Attachment, relation: Relation
) -> list[Any] | None:
    """Read a relation with its owner's rights; None if it is not as it was attached.

    Code of the owner may run meanwhile. The rollback takes back whatever it does to the session,
    and deferred triggers never fire.
    """
    try:
        async with connection.transaction(force_rollback=True):
            await connection.execute(statement("schema.settings"), prepare=False)
            found = await _rows(connection, attachment, relation)
        await _refuse_leftovers(connection)
    except BaseException:
        # Code of the owner may have raised the error, and have changed the session before.
        await connection.close()
        raise
    return found


async def _rows(
    connection: AsyncConnection[Any], attachment: Attachment, relation: Relation
) -> list[Any] | None:
    function = Identifier("knockon_source", f"announcement_{connection.info.backend_pid}")
    query = attachment.announcement(relation)
    create = statement("attach.reader").format(function=function, query=query)
    await connection.execute(create, prepare=False)
    owner = await _owner(connection, attachment, relation, function)
    if owner is None:
        return None
    hand_over = statement("attach.hand_over").format(function=function, owner=Identifier(owner))
    await connection.execute(hand_over, prepare=False)
    cursor = connection.cursor(row_factory=tuple_row)
    await cursor.execute(statement("attach.read").format(function=function), prepare=False)
    return await cursor.fetchall()


async def _owner(
    connection: AsyncConnection[Any],
    attachment: Attachment,
    relation: Relation,
    function: Identifier,
) -> str | None:
    """The owner of the relation, if the function reads it and it is as it was attached.

    A name may have come to mean another relation meanwhile.
    """
    columns = attachment.key_columns
    what = {"function": f"{function.as_string(connection)}()", "columns": columns}
    cursor = connection.cursor(row_factory=dict_row)
    await cursor.execute(statement("attach.bound"), what)
    rows = await cursor.fetchall()
    types = [attachment.table.column(name).type_oid for name in columns]
    expected = {"oid": relation.oid, "is_table": True, "types": types}
    if len(rows) != 1 or not expected.items() <= rows[0].items():
        return None
    return str(rows[0]["owner"])


async def _refuse_leftovers(connection: AsyncConnection[Any]) -> None:
    cursor = connection.cursor(row_factory=scalar_row)
    await cursor.execute(statement("attach.leftovers"), prepare=False)
    if await cursor.fetchone():
        raise InvalidInput(
            "a function of the owner prepared a statement in the session that announces the "
            "table: remove the function from the table's indexes, statistics and constraints"
        )


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
