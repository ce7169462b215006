"""Create and drop the triggers and functions of an attachment."""

from collections.abc import Collection, Sequence
from typing import Any

from psycopg import AsyncConnection
from psycopg.rows import dict_row, scalar_row
from psycopg.sql import Identifier

from consumers.postgres.rights import Session
from consumers.postgres.statements import statement
from consumers.postgres.triggers import KINDS, Attachment, Tenant, function_names


async def create_triggers(
    connection: AsyncConnection[Any], session: Session, attachment: Attachment
) -> None:
    """Create or replace the functions, as the capture role, and the triggers of table and parts.

    Functions owned by another role are dropped first, because replacing one keeps its owner.
    """
    functions = attachment.function_names
    if await _functions(connection, functions, other_than=session.capture):
        await drop_triggers(connection, attachment.org, attachment.dataset, attachment.table.oid)
    await connection.execute(session.format("act_as_capture"), prepare=False)
    for kind in KINDS:
        function = attachment.function(kind, connection, session.name)
        await connection.execute(function, prepare=False)
    await connection.execute(session.format("act_as_me"), prepare=False)
    for relation in (attachment.table, *attachment.table.parts):
        for kind in KINDS:
            await connection.execute(attachment.trigger(kind, relation), prepare=False)


async def drop_triggers(
    connection: AsyncConnection[Any],
    org: str | None,
    dataset: str,
    relation: int,
    *,
    keeping: Collection[int] = (),
) -> None:
    """Drop the triggers that log a table as a dataset on all relations, and their functions.

    Triggers of the relations in `keeping` are kept, and then the functions, too.
    """
    functions = function_names(org, dataset, relation)
    cursor = connection.cursor(row_factory=dict_row)
    await cursor.execute(statement("catalog.triggered"), {"functions": functions})
    for row in await cursor.fetchall():
        if row["oid"] not in keeping:
            drop = statement("attach.drop_trigger").format(
                trigger=Identifier(row["trigger"]), table=Identifier(row["schema"], row["name"])
            )
            await connection.execute(drop, prepare=False)
    for name in () if keeping else await _functions(connection, functions):
        function = Identifier("knockon_source", name)
        drop = statement("attach.drop_function").format(function=function)
        await connection.execute(drop, prepare=False)


async def legacy_functions(
    connection: AsyncConnection[Any], tenant: Tenant, dataset: str, relation: int | None
) -> Sequence[dict[str, Any]]:
    """Functions of an earlier version, without an org, that log a table as a dataset."""
    cursor = connection.cursor(row_factory=scalar_row)
    await cursor.execute(statement("readers.log_exists"))
    if not await cursor.fetchone():
        return ()
    rows = connection.cursor(row_factory=dict_row)
    await rows.execute(statement("attachments.legacy"), {"consumer": tenant.consumer})
    suffix = f"_{relation}"
    return [
        row
        for row in await rows.fetchall()
        if row["dataset"] == dataset and row["name"].endswith(suffix)
    ]


async def drop_legacy(
    connection: AsyncConnection[Any], tenant: Tenant, attachment: Attachment
) -> None:
    """Drop the triggers of an earlier version, unless another org may depend on them."""
    legacy = await legacy_functions(connection, tenant, attachment.dataset, attachment.table.oid)
    if legacy and not any(row["has_others"] for row in legacy):
        await drop_triggers(connection, None, attachment.dataset, attachment.table.oid)


async def _functions(
    connection: AsyncConnection[Any], names: Sequence[str], other_than: str | None = None
) -> Sequence[str]:
    """The existing functions among ``names``, except those owned by the role ``other_than``."""
    cursor = connection.cursor(row_factory=scalar_row)
    parameters = {"functions": list(names), "owner": other_than}
    await cursor.execute(statement("catalog.functions"), parameters)
    return await cursor.fetchall()
