"""Column types of a table created by Knockon, kept equal to those of the SELECT.

Types change without a new definition if the job's inputs change theirs. Values would otherwise be
cast to the earlier types, and lose their fractions without an error.
"""

from collections.abc import Mapping
from dataclasses import replace

import psycopg
from psycopg import sql

from engine.errors import TaskFailed
from engine.model.dataset import Dataset
from engine.model.table_mark import TableMark
from engine.store.as_org import AsOrg
from engine.worker.operators.sql.shape import Shape
from engine.worker.operators.sql.tables import Table

_LOCK = sql.SQL("LOCK TABLE {} IN ACCESS EXCLUSIVE MODE")
_COMMENT = sql.SQL("COMMENT ON TABLE {} IS {}")
_COUNT_LOSSES = sql.SQL("SELECT count(*) AS losses FROM {} WHERE {}")
_LOSES = sql.SQL("CAST(CAST({0} AS {1}) AS {2})::text IS DISTINCT FROM {0}::text")
_RETYPE = sql.SQL("ALTER COLUMN {0} TYPE {1} USING CAST({0} AS {1})")


def type_name(kind: str) -> sql.SQL:
    """Compose a type's name as returned by the catalog, which has quoted the name if necessary."""
    return sql.SQL(kind)


def changed_types(table: Table, shape: Shape) -> Mapping[str, str]:
    """Return the new types, by column, if the table has the right columns."""
    if table.columns.keys() != shape.columns.keys():
        return {}
    return {column: kind for column, kind in shape.columns.items() if kind != table.columns[column]}


async def convert_columns(
    org: AsOrg, dataset: Dataset, table: Table, mark: TableMark, types: Mapping[str, str]
) -> Table:
    """Convert the stored rows to other types, and return the new description of the table.

    Raises TaskFailed if the conversion would change a stored value, or if views depend on a column.
    """
    alterations = [
        _RETYPE.format(sql.Identifier(column), type_name(kind)) for column, kind in types.items()
    ]
    alter = sql.SQL("ALTER TABLE {} {}").format(table.identifier, sql.SQL(", ").join(alterations))
    comment = _retyped(mark, table, types)
    try:
        (row,) = await org.fetch(_LOCK.format(table.identifier), _losses(table, types))
        if row["losses"]:
            raise _inconvertible(dataset, table, types, f"{row['losses']} rows would change")
        await org.execute(alter, _COMMENT.format(table.identifier, comment))
    except psycopg.errors.FeatureNotSupported as error:
        raise TaskFailed(
            f"the types of table {table.schema}.{table.name} must change, but other objects depend "
            f"on its columns: drop these objects first ({error.diag.message_detail})"
        ) from error
    except (psycopg.errors.DataError, psycopg.errors.CannotCoerce) as error:
        raise _inconvertible(dataset, table, types, str(error.diag.message_primary)) from error
    return replace(table, columns={**table.columns, **types}, comment=comment)


def _retyped(mark: TableMark, table: Table, types: Mapping[str, str]) -> str:
    """Return the mark with the numbers of the columns added."""
    retyped = table.retyped.union(types)
    numbers = [number for number, name in enumerate(table.columns, start=1) if name in retyped]
    return str(replace(mark, retyped=tuple(numbers)))


def _losses(table: Table, types: Mapping[str, str]) -> sql.Composed:
    """Compose the count of rows that would not be equal after conversion and back."""
    loses = [
        _LOSES.format(sql.Identifier(column), type_name(kind), type_name(table.columns[column]))
        for column, kind in types.items()
    ]
    return _COUNT_LOSSES.format(table.identifier, sql.SQL(" OR ").join(loses))


def _inconvertible(
    dataset: Dataset, table: Table, types: Mapping[str, str], reason: str
) -> TaskFailed:
    changes = ", ".join(
        f"{column} from {table.columns[column]} to {kind}" for column, kind in types.items()
    )
    return TaskFailed(
        f"the SELECT for {dataset.name!r} changed the types of columns ({changes}), and stored "
        f"rows cannot be converted without loss ({reason}): cast the columns in the SELECT, or "
        f"drop table {table.schema}.{table.name} and invalidate {dataset.name!r}"
    )
