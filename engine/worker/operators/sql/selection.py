"""Row filters as conditions on the columns of a table."""

from collections.abc import Mapping

from psycopg import sql

from engine.lineage.narrowing import narrow, zones_of
from engine.lineage.rows import Condition, Operator, RowFilter
from engine.lineage.wall_time import is_of_times
from engine.partitions import PartitionSpace, TimeDimension
from engine.worker.operators.sql.column_conditions import TRUE, all_of
from engine.worker.operators.sql.predicates import within
from engine.worker.operators.sql.tables import Table

_OPERATORS = {"eq": "=", "gt": ">", "gte": ">=", "lt": "<", "lte": "<="}
_INCLUSIVE: Mapping[Operator, Operator] = {"gt": "gte", "lt": "lte"}
_WITHOUT_TIMES = ("text", "character", "integer", "bigint", "smallint", "numeric", "uuid")
"""Types whose texts may look like times; a domain, by its own name, may be based on times."""


def selected(
    rows: RowFilter, space: PartitionSpace, table: Table, session_zone: str
) -> sql.Composable:
    """Return the condition that a row of ``table`` meets the filter.

    Times are compared as in planning, by whole hours or days, because the database takes a date for
    midnight, and wall time for that of the session.
    """
    return all_of(_condition(test, space, table, session_zone) for test in rows.conditions)


def _condition(
    test: Condition, space: PartitionSpace, table: Table, session_zone: str
) -> sql.Composable:
    kind = table.columns.get(test.column, "")
    if kind != "date" and not (kind.startswith("timestamp") and kind.endswith("time zone")):
        is_uncertain = is_of_times(test) and not kind.startswith(_WITHOUT_TIMES)
        return TRUE if is_uncertain else _compared(test, kind)
    zones = zones_of(space, test.column)
    if not zones:
        # In a column of instants, the sender may have meant either.
        zones = frozenset({"UTC", session_zone} if kind.endswith("with time zone") else {"UTC"})
    axis = PartitionSpace((("time", _windows(space, test.column, kind)),))
    rows = RowFilter((test,))
    return within(narrow(rows, axis, axis.universe, {test.column: zones}), table)


def _windows(space: PartitionSpace, column: str, kind: str) -> TimeDimension:
    """Return the windows by which the times of a column are compared."""
    for name, dimension in space.dimensions:
        if isinstance(dimension, TimeDimension) and column == (dimension.column or name):
            grain = "day" if dimension.calendar.is_daily else "hour"
            return TimeDimension(grain, dimension.zone, column=column)
    return TimeDimension("day" if kind == "date" else "hour", column=column)


def _compared(test: Condition, kind: str) -> sql.Composable:
    column, operator = sql.Identifier(test.column), test.operator
    values = test.value if isinstance(test.value, tuple) else (test.value,)
    literals: list[sql.Composable] = [sql.Literal(value) for value in values]
    if kind == "real":
        # The column has rounded its values, which may have met a strict bound before.
        literals = [sql.SQL("CAST({} AS real)").format(literal) for literal in literals]
        operator = _INCLUSIVE.get(operator, operator)
    if isinstance(test.value, tuple):
        return sql.SQL("{} IN ({})").format(column, sql.SQL(", ").join(literals))
    return sql.SQL("{} {} {}").format(column, sql.SQL(_OPERATORS[operator]), *literals)
