"""The table that an output lives in: made when missing, made anew for a new definition.

Tables that Knockon created bear a mark in their comment. Others are used only where they were given
to the job, as they are, and are never dropped.
"""

from collections.abc import Iterator, Sequence
from typing import LiteralString

import psycopg
from psycopg import sql

from engine.errors import TaskFailed
from engine.flow.output_tables import check_target
from engine.model.dataset import Dataset
from engine.model.job import Job
from engine.model.table_mark import TableMark
from engine.store.as_org import AsOrg
from engine.store.run import execute
from engine.worker.operators.sql.shape import Shape, partition_columns
from engine.worker.operators.sql.tables import Table, describe, physical_name
from engine.worker.reading import space_of


async def output_table(
    org: AsOrg, job: Job, dataset: Dataset, shape: Shape, found: Table | None
) -> Table:
    """The table to write to, fit for the dataset's generation.

    Raises InvalidInput where there is one that is not for the dataset, TaskFailed where it cannot
    be used and may not be dropped.
    """
    name = physical_name(dataset)
    if found is None or not _serves(found, dataset):
        # Somebody else may be making it: look again, alone.
        await execute(org.conn, "tables.lock", key=".".join(name))
        found = (await describe(org.conn, [name])).get(name)
        await _check_permission(org, dataset, found)
        found = await _made(org, job, dataset, shape, found)
    else:
        await _check_permission(org, dataset, found)
    _check_columns(found, dataset, shape)
    return found


async def _check_permission(org: AsOrg, dataset: Dataset, found: Table | None) -> None:
    if found is not None:
        await check_target(org.conn, org.org_id, dataset, found.relation)


def _serves(table: Table, dataset: Dataset) -> bool:
    mark = TableMark.read(table.comment)
    return mark is None or mark == TableMark.of(dataset)


async def _made(org: AsOrg, job: Job, dataset: Dataset, shape: Shape, found: Table | None) -> Table:
    if found is None:
        return await _create(org, job, dataset, shape)
    if _serves(found, dataset):
        return found
    if _holds_over(job, dataset, shape, found):
        await org.execute(_mark(found.identifier, dataset))
        return found
    await _drop(org, found)
    return await _create(org, job, dataset, shape)


def _holds_over(job: Job, dataset: Dataset, shape: Shape, found: Table) -> bool:
    """Whether the rows of the generation before can be replaced one partition after another."""
    mark, own = TableMark.read(found.comment), TableMark.of(dataset)
    if mark is None or (mark.dataset, mark.partitioning) != (own.dataset, own.partitioning):
        return False
    return job.update_strategy == "replace" and shape.columns == found.columns


def _check_columns(found: Table, dataset: Dataset, shape: Shape) -> None:
    if found.columns.keys() != shape.columns.keys():
        raise TaskFailed(
            f"table {found.schema}.{found.name} has the columns {', '.join(found.columns)}, but "
            f"dataset {dataset.name!r} comes out with {', '.join(shape.columns)}: change the "
            "SELECT or the table, drop the table, or name another one as storage.table"
        )


async def _create(org: AsOrg, job: Job, dataset: Dataset, shape: Shape) -> Table:
    name = physical_name(dataset)
    table = sql.Identifier(*name)
    columns = [
        sql.SQL("{} {}").format(sql.Identifier(column), type_name(kind))
        for column, kind in shape.columns.items()
    ]
    create = sql.SQL("CREATE TABLE {} ({})").format(table, sql.SQL(", ").join(columns))
    space = space_of(dataset.partitioning)
    await org.execute(
        create,
        *_index("INDEX", table, [column for column, _ in partition_columns(space)]),
        *_index("UNIQUE INDEX", table, job.unique_key if job.update_strategy == "append" else ()),
        _mark(table, dataset),
    )
    return (await describe(org.conn, [name]))[name]


def type_name(kind: str) -> sql.SQL:
    """A type's name as the catalog wrote it, quoted where it needs to be."""
    return sql.SQL(kind)


def _index(
    kind: LiteralString, table: sql.Identifier, columns: Sequence[str]
) -> Iterator[sql.Composed]:
    """At most one statement; none without columns."""
    if columns:
        listed = sql.SQL(", ").join(map(sql.Identifier, columns))
        yield sql.SQL("CREATE {} ON {} ({})").format(sql.SQL(kind), table, listed)


def _mark(table: sql.Identifier, dataset: Dataset) -> sql.Composed:
    return sql.SQL("COMMENT ON TABLE {} IS {}").format(table, str(TableMark.of(dataset)))


async def _drop(org: AsOrg, table: Table) -> None:
    try:
        await org.execute(sql.SQL("DROP TABLE {}").format(table.identifier))
    except psycopg.errors.DependentObjectsStillExist as error:
        raise TaskFailed(
            f"table {table.schema}.{table.name} must be made anew for a new definition, but "
            f"other objects depend on it: drop them first ({error.diag.message_detail})"
        ) from error
