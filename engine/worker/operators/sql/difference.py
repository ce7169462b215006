"""Detection of changed columns, within the statement that writes a partition.

Columns whose values are the same as before, in any order, are candidates for unchanged columns. The
candidates are unchanged only together: the rows projected to them must be the same as before. A
reader of no other columns then sees no difference.
"""

from collections.abc import Iterable, Sequence

from psycopg import sql

from engine.worker.operators.sql.tables import Table

_CTES = sql.SQL("""
knockon_both AS MATERIALIZED (
    SELECT {part} AS knockon_part, false AS knockon_old, t.* FROM knockon_new AS t
    WHERE {part} IN (SELECT part FROM knockon_compared WHERE differs AND rows = old_rows)
    UNION ALL
    SELECT {part}, true, {columns} FROM {table} AS t
    WHERE ({within})
        AND {part} IN (SELECT part FROM knockon_compared WHERE differs AND rows = old_rows)),
knockon_sums AS MATERIALIZED (
    SELECT knockon_part AS part, knockon_old AS old, ARRAY[{sums}] AS sums
    FROM knockon_both AS t GROUP BY 1, 2),
knockon_alike AS MATERIALIZED (
    SELECT part, ARRAY(SELECT a = b FROM unnest(n.sums, o.sums) WITH ORDINALITY AS u(a, b, i)
                       ORDER BY i) AS alike
    FROM knockon_sums AS n JOIN knockon_sums AS o USING (part) WHERE o.old AND NOT n.old),
knockon_same AS MATERIALIZED (
    SELECT a.part, a.alike FROM knockon_both AS t JOIN knockon_alike AS a ON a.part = t.knockon_part
    GROUP BY 1, 2 HAVING {kept} FILTER (WHERE knockon_old) = {kept} FILTER (WHERE NOT knockon_old))
""")


def same_columns(
    table: Table, part: sql.Composable, columns: sql.Composable, within: sql.Composable
) -> sql.Composed:
    """Return CTEs up to ``knockon_same``: a ``part`` and ``alike``, a flag for each column.

    They read ``knockon_compared``: for each ``part`` the flag ``differs``, with its ``rows``
    and ``old_rows``. If the number of rows changed, all columns did, and ``knockon_same`` lacks the
    part.
    """
    texts = [sql.SQL("{}::text").format(sql.Identifier("t", name)) for name in table.columns]
    kept = [
        sql.SQL("CASE WHEN a.alike[{}] THEN {} END").format(sql.Literal(i), text)
        for i, text in enumerate(texts, start=1)
    ]
    return _CTES.format(
        part=part,
        columns=columns,
        table=table.identifier,
        within=within,
        sums=sql.SQL(", ").join(_sum([text]) for text in texts),
        kept=_sum(kept),
    )


def changed_columns(table: Table, alike: Sequence[bool] | None) -> frozenset[str] | None:
    """Return the changed columns; None if all columns changed.

    A retyped column counts as changed: the rows of before were of the earlier type when last read.
    """
    if not alike or not any(alike):
        return None
    changed = {name for name, same in zip(table.columns, alike, strict=True) if not same}
    return table.retyped.union(changed)


def _sum(texts: Iterable[sql.Composable]) -> sql.Composed:
    """Return the expression of a hash that is independent of the order of rows."""
    row = sql.SQL(", ").join(texts)
    return sql.SQL("sum(hashtextextended(ROW({})::text, 0))").format(row)
