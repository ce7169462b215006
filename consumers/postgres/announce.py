"""Announcing a table: its partitions are logged as if their rows had just been inserted."""

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
    """Log the rows of the table, or of some of its parts, after the triggers have been created.

    The relations have been recorded as unannounced in an earlier transaction, so that a crash
    loses nothing.
    """
    table = attachment.table
    relations: tuple[Relation, ...] = (table,) if table.oid in unannounced else table.parts
    for relation in relations:
        if relation.oid in unannounced:
            rows = await _read(connection, attachment, relation)
            async with connection.transaction():
                await connection.execute(statement("schema.settings"), prepare=False)
                if rows is None:
                    await _widen(connection, attachment)
                for row in rows or ():
                    await connection.execute(
                        statement("attach.insert_announced"), row, prepare=False
                    )
                await _store(
                    connection, attachment, unannounced if relation is table else (relation.oid,)
                )
                await connection.execute(statement("attach.notify"))


async def _read(
    connection: AsyncConnection[Any], attachment: Attachment, relation: Relation
) -> list[Any] | None:
    """Read a relation with its owner's privileges; None if it has changed since it was attached.

    Code of the owner may run during the read. The rollback undoes its changes to the session, and
    deferred triggers never fire.
    """
    try:
        async with connection.transaction(force_rollback=True):
            await connection.execute(statement("schema.settings"), prepare=False)
            rows = await _rows(connection, attachment, relation)
        await _reject_prepared_statements(connection)
    except BaseException:
        # Code of the owner may have changed the session before it raised the error.
        await connection.close()
        raise
    return rows


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
    """The owner of the relation; None if the function reads another relation or other types.

    The relation's name may refer to another relation by now.
    """
    columns = attachment.key_columns
    parameters = {"function": f"{function.as_string(connection)}()", "columns": columns}
    cursor = connection.cursor(row_factory=dict_row)
    await cursor.execute(statement("attach.bound"), parameters)
    rows = await cursor.fetchall()
    types = [attachment.table.column(name).type_oid for name in columns]
    expected = {"oid": relation.oid, "is_table": True, "types": types}
    if len(rows) != 1 or not expected.items() <= rows[0].items():
        return None
    return str(rows[0]["owner"])


async def _reject_prepared_statements(connection: AsyncConnection[Any]) -> None:
    cursor = connection.cursor(row_factory=scalar_row)
    await cursor.execute(statement("attach.prepared_statements"), prepare=False)
    if await cursor.fetchone():
        raise InvalidInput(
            "a function of the owner prepared a statement in the session that announces the "
            "table: remove the function from the table's indexes, statistics and constraints"
        )


async def _widen(connection: AsyncConnection[Any], attachment: Attachment) -> None:
    source = f"{attachment.table.schema}.{attachment.table.name}"
    row = {"org": attachment.org, "dataset": attachment.dataset, "source": source}
    await connection.execute(statement("attachments.widen"), row | {"columns": None})


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
