"""Which columns of a partition came out different: told by the statement that writes it.

The columns whose values are the same as before, whatever their order, are set aside. They count
only together: the rows cut down to them have to be the same rows as before. What reads none but
such columns cannot see a difference.
"""

from collections.abc import Iterable, Sequence

from psycopg import sql

from engine.worker.operators.sql.tables import Table

_CTES = sql.SQL("""
knockon_both AS MATERIALIZED (
    SELECT {part} AS knockon_part, false AS knockon_old, t.* FROM knockon_new AS t
    WHERE {part} IN (SELECT part FROM knockon_told WHERE differs AND rows = old_rows)
    UNION ALL
    SELECT {part}, true, {columns} FROM {table} AS t
    WHERE ({within})
        AND {part} IN (SELECT part FROM knockon_told WHERE differs AND rows = old_rows)),
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
    """The CTEs up to ``knockon_same``, which has ``part`` and, column by column, ``alike``.

    ``knockon_told`` says by ``part`` what ``differs``, with the ``rows`` and ``old_rows``; where
    rows came or went, every column did, and ``knockon_same`` says nothing.
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


def changed_columns(columns: Iterable[str], alike: Sequence[bool] | None) -> frozenset[str] | None:
    """The columns that are not alike; None: all of them."""
    if not alike or not any(alike):
        return None
    return frozenset(name for name, same in zip(columns, alike, strict=True) if not same)


def _sum(texts: Iterable[sql.Composable]) -> sql.Composed:
    """A hash of rows in any order."""
    row = sql.SQL(", ").join(texts)
    return sql.SQL("sum(hashtextextended(ROW({})::text, 0))").format(row)
