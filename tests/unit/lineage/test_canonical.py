"""Canonical texts: equal for queries written differently, and only for those."""

import pytest

from engine.lineage.sql.canonical import canonical

ALIKE = [
    ("SELECT a FROM t", "select  A -- a comment\n /* another */ From T ;"),
    ("SELECT o.x, sum(o.y) AS s FROM o GROUP BY o.x", "SELECT o.x, sum(o.y) s FROM o GROUP BY o.x"),
    ("SELECT o.x FROM orders AS o", "SELECT orders.x FROM orders"),
    ("SELECT o.x FROM s.orders o", "SELECT q.x FROM s.orders AS q"),
    ("SELECT o.*, 1 AS n FROM orders o", "SELECT orders.*, 1 n FROM orders"),
    (
        "SELECT a.x FROM t a JOIN u b ON (a.k = b.k) LEFT JOIN v ON v.k = b.k",
        "SELECT b.x FROM t b JOIN u ON b.k = u.k LEFT JOIN v w ON (w.k = u.k)",
    ),
    ("WITH w AS (SELECT 1 AS k) SELECT w.k FROM w", "WITH w AS (SELECT 1 k) SELECT z.k FROM w z"),
    (
        "SELECT 1 FROM t o WHERE EXISTS (SELECT FROM u WHERE u.k = o.k)",
        "SELECT 1 FROM t WHERE EXISTS (SELECT FROM u i WHERE i.k = t.k)",
    ),
    ("SELECT ((a + b)), (c) FROM t", "SELECT a + b, c FROM t"),
    ("SELECT a FROM t WHERE (a = 1) AND (b = 2)", "SELECT a FROM t WHERE a = 1 AND b = 2"),
    ("SELECT a FROM t WHERE (a = 1 OR b)", "SELECT a FROM t WHERE a = 1 OR b"),
    ("SELECT CAST((a + b) AS int) FROM t", "SELECT cast(a + b AS INT) FROM t"),
    ("SELECT CASE WHEN (a > 1) THEN (a) END FROM t", "SELECT CASE WHEN a > 1 THEN a END FROM t"),
    ("SELECT 2 * (a) FROM t WHERE NOT (b)", "SELECT 2 * a FROM t WHERE NOT b"),
]
UNLIKE = [
    ("SELECT a FROM t", "SELECT b FROM t"),
    ("SELECT 'A' FROM t", "SELECT 'a' FROM t"),
    ('SELECT "A" FROM t', "SELECT A FROM t"),
    ("SELECT a b FROM t", "SELECT a c FROM t"),
    ("SELECT a isnull FROM t", "SELECT a AS isnull FROM t"),
    ("SELECT (a || b) + c FROM t", "SELECT a || b + c FROM t"),
    ("SELECT a || (b + c) FROM t", "SELECT a || b + c FROM t"),
    ("SELECT a - (b - c) FROM t", "SELECT a - b - c FROM t"),
    ("SELECT a FROM t WHERE a AND (b OR c)", "SELECT a FROM t WHERE a AND b OR c"),
    ("SELECT a FROM t WHERE NOT (a AND b)", "SELECT a FROM t WHERE NOT a AND b"),
    (
        "SELECT a FROM t WHERE x BETWEEN 1 AND (y IS NULL) AND z",
        "SELECT a FROM t WHERE x BETWEEN 1 AND y IS NULL AND z",
    ),
    ("SELECT f((a, b)) FROM t", "SELECT f(a, b) FROM t"),
    ("SELECT a FROM t WHERE x IN ((SELECT 1))", "SELECT a FROM t WHERE x IN (SELECT 1)"),
    ("SELECT t FROM t", "SELECT u FROM t u"),
    ("SELECT (t).a FROM t", "SELECT t.a FROM t"),
    ("SELECT 1 FROM t x, (u CROSS JOIN v) AS j", "SELECT 1 FROM t x, u CROSS JOIN v AS j"),
    ("SELECT a.x FROM t a, u b", "SELECT b.x FROM t a, u b"),
    ("SELECT a.x FROM t a, t b", "SELECT b.x FROM t a, t b"),
    ("SELECT x.a FROM t AS x(a, b)", "SELECT x.a FROM t AS x(b, a)"),
    ("SELECT t.a FROM t, (SELECT t.a FROM u t) s", "SELECT t.a FROM t, (SELECT t.a FROM u) s"),
    ("SELECT 1 - -2", "SELECT 1 --2"),
    ("SELECT U&'\\0041'", "SELECT U&'\\0042'"),
    ('SELECT U&"a" FROM t', 'SELECT U&"b" FROM t'),
    ("SELECT (t.*)::text FROM foo t", "SELECT (u.*)::text FROM foo u"),
    ("SELECT 'a' 'b'", "SELECT 'a'\n'b'"),
]


@pytest.mark.parametrize(("one", "other"), ALIKE)
def test_queries_written_differently_are_alike(one: str, other: str) -> None:
    assert canonical(one) == canonical(other)


@pytest.mark.parametrize(("one", "other"), UNLIKE)
def test_other_queries_differ(one: str, other: str) -> None:
    assert canonical(one) != canonical(other)


def test_a_text_that_is_no_sql_stays_as_it_is() -> None:
    assert canonical("SELECT 'open") == "SELECT 'open"


def test_a_query_beyond_the_grammar_is_compared_by_its_tokens() -> None:
    text = "SELECT a FROM t AS o TABLESAMPLE SYSTEM (10)"
    assert canonical(text) == canonical(text.lower().replace(" ", "  "))
    assert canonical(text) != canonical(text.replace("AS o", "AS p"))
