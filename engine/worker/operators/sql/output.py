"""The table of an output: created if missing, and recreated for a new definition.

Knockon marks its own tables in their comments. Other tables are used only if the job adopts them,
without alteration, and are never dropped.
"""

from collections.abc import Iterator, Sequence

import psycopg
from psycopg import sql

from engine.errors import TaskFailed
from engine.flow.execution.write_permission import check_target
from engine.flow.shared.load_partitions import load_known
from engine.lineage.graph import Lineage
from engine.model.dataset import Dataset
from engine.model.job import Job
from engine.model.table_mark import TableMark
from engine.store.as_org import AsOrg
from engine.store.run import execute
from engine.worker.operators.sql.column_types import (
    changed_types,
    convert_columns,
    type_name,
)
from engine.worker.operators.sql.existing import possible
from engine.worker.operators.sql.predicates import within
from engine.worker.operators.sql.shape import Shape, partition_columns
from engine.worker.operators.sql.tables import Table, describe, physical_name
from engine.worker.reading import space_of

_MAX_BOXES = 10_000
"""Limit of alternatives in a condition; beyond it, rows of all partitions are deleted."""
_INDEX = sql.SQL("CREATE INDEX ON {} ({})")
# A NULL in the key is a value like any other: the row is merged, not added by each run.
_UNIQUE_INDEX = sql.SQL("CREATE UNIQUE INDEX ON {} ({}) NULLS NOT DISTINCT")


async def output_table(
    org: AsOrg,
    lineage: Lineage,
    job: Job,
    dataset: Dataset,
    shape: Shape,
    existing: Table | None,
) -> Table:
    """Return the table for the dataset's current version.

    Raises InvalidInput if the existing table belongs to another dataset, TaskFailed if the table
    can be neither used nor dropped.
    """
    name = physical_name(dataset)
    if existing is None or not _is_prepared(existing, dataset, shape):
        # Another worker may be preparing the table: read again under a lock.
        await execute(org.conn, "tables.lock", key=".".join(name))
        existing = (await describe(org.conn, [name])).get(name)
        await _check_permission(org, dataset, existing)
        table = await _prepare(org, lineage, job, dataset, shape, existing)
    else:
        await _check_permission(org, dataset, existing)
        table = existing
    _check_columns(table, dataset, shape)
    return table


async def _check_permission(org: AsOrg, dataset: Dataset, existing: Table | None) -> None:
    if existing is not None:
        await check_target(org.conn, org.org_id, dataset, existing.relation)


def _is_prepared(table: Table, dataset: Dataset, shape: Shape) -> bool:
    is_adopted = TableMark.read(table.comment) is None
    return is_adopted or (is_current(table, dataset) and not changed_types(table, shape))


def is_current(table: Table, dataset: Dataset) -> bool:
    """Return True if the table is adopted, or of the dataset's current version."""
    mark = TableMark.read(table.comment)
    # The layout needs no comparison: the grid cannot change without a new version.
    return mark is None or (mark.dataset, mark.version) == (str(dataset.id), str(dataset.version))


async def _prepare(
    org: AsOrg,
    lineage: Lineage,
    job: Job,
    dataset: Dataset,
    shape: Shape,
    existing: Table | None,
) -> Table:
    if existing is None:
        return await _create(org, job, dataset, shape)
    if is_current(existing, dataset):
        return await _retype(org, job, dataset, shape, existing)
    if _is_reusable(job, dataset, shape, existing):
        unbuilt = await _delete_unbuilt(org, lineage, dataset, existing)
        await org.execute(unbuilt, _mark(existing.identifier, job, dataset))
        return existing
    await _drop(org, existing)
    return await _create(org, job, dataset, shape)


async def _retype(org: AsOrg, job: Job, dataset: Dataset, shape: Shape, existing: Table) -> Table:
    mark, types = TableMark.read(existing.comment), changed_types(existing, shape)
    if mark is None or not types:  # adopted tables keep their types
        return existing
    if _is_rewritten(job, dataset):
        await _drop(org, existing)
        return await _create(org, job, dataset, shape)
    return await convert_columns(org, dataset, existing, mark, types)


def _is_rewritten(job: Job, dataset: Dataset) -> bool:
    """Return True if each run replaces the table, and reports its only partition."""
    return not (job.merge_key or space_of(dataset.partitioning).dimensions)


def _is_reusable(job: Job, dataset: Dataset, shape: Shape, existing: Table) -> bool:
    """Return True if rows of an earlier version can be replaced partition by partition."""
    mark = TableMark.read(existing.comment)
    if mark is None or mark.dataset != str(dataset.id):
        return False
    if not mark.has_layout_of(dataset, job.merge_key):
        return False
    return not job.merge_key and shape.columns == existing.columns


async def _delete_unbuilt(
    org: AsOrg, lineage: Lineage, dataset: Dataset, table: Table
) -> sql.Composed:
    """Compose the deletion of rows in partitions that the new version is not going to build.

    Rows of the others stay visible until their own task replaces them.
    """
    kept = space_of(dataset.partitioning).empty
    if lineage.find_dataset(dataset.id) is not None:  # else a deploy has ended the task
        known = await load_known(org.conn, lineage, dataset.id)
        if len(known.boxes) <= _MAX_BOXES:
            kept = await possible(org, known, table)
    delete = sql.SQL("DELETE FROM {} WHERE ({}) IS NOT TRUE")
    return delete.format(table.identifier, within(kept, table))


def _check_columns(table: Table, dataset: Dataset, shape: Shape) -> None:
    if table.columns.keys() != shape.columns.keys():
        raise TaskFailed(
            f"table {table.schema}.{table.name} has the columns {', '.join(table.columns)}, but "
            f"dataset {dataset.name!r} has {', '.join(shape.columns)}: change the SELECT or the "
            "table, drop the table, or set another storage.table"
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
        *_index(_INDEX, table, [column for column, _ in partition_columns(space)]),
        *_index(_UNIQUE_INDEX, table, job.merge_key),
        _mark(table, job, dataset),
    )
    return (await describe(org.conn, [name]))[name]


def _index(
    statement: sql.SQL, table: sql.Identifier, columns: Sequence[str]
) -> Iterator[sql.Composed]:
    """Yield the statement, or nothing if there are no columns."""
    if columns:
        yield statement.format(table, sql.SQL(", ").join(map(sql.Identifier, columns)))


def _mark(table: sql.Identifier, job: Job, dataset: Dataset) -> sql.Composed:
    mark = TableMark.of(dataset, job.merge_key)
    return sql.SQL("COMMENT ON TABLE {} IS {}").format(table, str(mark))


async def _drop(org: AsOrg, table: Table) -> None:
    try:
        await org.execute(sql.SQL("DROP TABLE {}").format(table.identifier))
    except psycopg.errors.DependentObjectsStillExist as error:
        raise TaskFailed(
            f"table {table.schema}.{table.name} must be recreated for a new definition, but other "
            f"objects depend on it: drop these objects first ({error.diag.message_detail})"
        ) from error
