"""Exact lineage derived from a SELECT. ``*`` is the set of inputs that shape every column."""

import pytest

from engine.lineage.sql import Derived, Relation, derive

INPUTS = {
    "t": Relation.of_input("t", ["a", "b", "c", "day"], shaped_by=["day"]),
    "u": Relation.of_input("u", ["a", "x", "y"]),
    "any": Relation.of_input("any", None),
}
PARTITION = {"knockon_partition": Relation((("key", frozenset()),))}


def derived(text: str) -> Derived:
    return derive(text, INPUTS, PARTITION)


def lineage(text: str) -> dict[str, str]:
    found = derived(text).lineage
    assert found is not None
    return {
        column: " ".join(sorted(f"{read.alias}.{read.column}" for read in reads))
        for column, reads in found.items()
        if reads
    }


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param(
            "SELECT a, sum(b) AS s, count(*) AS n FROM t GROUP BY a HAVING max(c) > 1",
            {"a": "t.a", "s": "t.b", "*": "t.a t.c t.day"},
            id="groups",
        ),
        pytest.param(
            "SELECT b AS c FROM t WHERE c > 1 ORDER BY a",
            {"c": "t.b", "*": "t.c t.day"},
            id="WHERE sees the column, not its alias; a table has no order",
        ),
        pytest.param(
            "SELECT b + 1 AS a, count(*) FROM t GROUP BY a",
            {"a": "t.b", "*": "t.a t.b t.day"},
            id="GROUP BY may mean both",
        ),
        pytest.param(
            "SELECT b FROM t ORDER BY a, 1 LIMIT 3",
            {"b": "t.b", "*": "t.a t.b t.day"},
            id="with a limit, order decides which rows there are",
        ),
        pytest.param(
            "SELECT x FROM u LIMIT 3",
            {"x": "u.x", "*": "any.* t.* u.*"},
            id="a limit without an order may leave out any row",
        ),
        pytest.param(
            "SELECT x, y FROM u LEFT JOIN t ON t.a = u.a AND t.b > 1",
            {"x": "u.x", "y": "u.y", "*": "t.a t.b t.day u.a"},
            id="what joins moves rows",
        ),
        pytest.param(
            "SELECT a, b, x FROM t FULL JOIN u USING (a)",
            {"a": "t.a u.a", "b": "t.b", "x": "u.x", "*": "t.a t.day u.a"},
            id="a shared column is of both sides",
        ),
        pytest.param(
            "SELECT * FROM (SELECT a FROM t) p, (SELECT a, x FROM u) q JOIN (SELECT a, y FROM u) r "
            "USING (a) WHERE p.a = 1",
            {"a": "t.a u.a", "x": "u.x", "y": "u.y", "*": "t.a t.day u.a"},
            id="a comma binds less than JOIN",
        ),
        pytest.param(
            "SELECT two FROM ((SELECT b, c FROM t) p CROSS JOIN (SELECT a, x FROM u) q) "
            "JOIN (SELECT x, y FROM u) r USING (x), LATERAL (SELECT r.y, p.c) AS s (one, two)",
            {"two": "t.c", "*": "t.day u.x"},
            id="brackets and laterals",
        ),
        pytest.param(
            "SELECT DISTINCT ON (x) x, y FROM u ORDER BY x, a",
            {"x": "u.x", "y": "u.y", "*": "u.a u.x"},
            id="distinct on",
        ),
        pytest.param(
            "SELECT x FROM u UNION SELECT b FROM t",
            {"x": "t.b u.x", "*": "t.b t.day u.x"},
            id="a union that drops duplicates",
        ),
        pytest.param(
            "SELECT x AS one, y AS two FROM u UNION ALL SELECT a, b FROM t",
            {"one": "t.a u.x", "two": "t.b u.y", "*": "t.day"},
            id="a union that keeps all goes by place",
        ),
        pytest.param(
            "SELECT * FROM u UNION ALL SELECT a, b, c FROM t",
            dict.fromkeys("axy", "t.a t.b t.c u.a u.x u.y") | {"*": "t.day"},
            id="a table's columns may stand in another order than the file lists them",
        ),
        pytest.param(
            "SELECT x, (SELECT max(b) FROM t WHERE t.a = u.a) AS m FROM u "
            "WHERE EXISTS (SELECT c FROM t WHERE t.b = u.y)",
            {"x": "u.x", "m": "t.a t.b t.day u.a", "*": "t.b t.day u.y"},
            id="subqueries: a value by all it reads, EXISTS by its rows",
        ),
        pytest.param(
            "SELECT x, rank() OVER w AS r, sum(y) OVER (w ROWS 1 PRECEDING) AS s FROM u "
            "WINDOW w AS (PARTITION BY a ORDER BY x)",
            {"x": "u.x", "r": "u.a u.x", "s": "u.a u.x u.y"},
            id="a window shapes its own column",
        ),
        pytest.param(
            "SELECT x, row_number() OVER (PARTITION BY y) AS n, array_agg(y) OVER () AS ys FROM u",
            {"x": "u.x", "n": "any.* t.* u.* u.y", "ys": "any.* t.* u.* u.y"},
            id="what goes by an order that is not said goes by anything",
        ),
        pytest.param(
            "SELECT x, string_agg(y, ',' ORDER BY a) AS ys FROM u GROUP BY x",
            {"x": "u.x", "ys": "u.a u.y", "*": "u.x"},
            id="an aggregate with its own order",
        ),
        pytest.param(
            "SELECT x, unnest(y) AS e, jsonb_each(a) AS f FROM u",
            {"x": "u.x", "e": "u.y", "f": "u.a", "*": "u.a u.y"},
            id="functions that may give many rows",
        ),
        pytest.param(
            "SELECT n, x FROM u, generate_series(1, u.y) AS n",
            {"n": "u.y", "x": "u.x", "*": "u.y"},
            id="a function in the FROM",
        ),
        pytest.param(
            "SELECT date_trunc(y, x) AS d, upper(x -> 'y') AS j, extract(day FROM x) AS e FROM u",
            {"d": "u.x u.y", "j": "u.x", "e": "u.x"},
            id="columns that sqlglot's own functions lose",
        ),
        pytest.param(
            "WITH RECURSIVE r AS (SELECT a, x FROM u WHERE y = 1 "
            "UNION ALL SELECT u.a, r.x FROM r JOIN u ON u.a = r.a + 1) SELECT x FROM r",
            {"x": "u.x", "*": "u.a u.y"},
            id="a recursion, until nothing is added",
        ),
        pytest.param(
            "WITH u AS (SELECT b AS x FROM t) SELECT x FROM u",
            {"x": "t.b", "*": "t.day"},
            id="a CTE hides an input",
        ),
        pytest.param(
            "SELECT row_to_json(u) AS j, count(u.*) AS n FROM u",
            {"j": "u.a u.x u.y", "n": "u.a u.x u.y"},
            id="whole rows",
        ),
        pytest.param(
            "SELECT x, key FROM u, knockon_partition",
            {"x": "u.x"},
            id="the partition is no input",
        ),
        pytest.param(
            "WITH q AS (SELECT * FROM any) SELECT q.p, s FROM q JOIN u ON u.x = q.p",
            {"p": "any.p", "s": "any.s", "*": "any.p u.x"},
            id="unknown columns pass a star by name",
        ),
        pytest.param(
            "SELECT x FROM u, any WHERE z = 1 AND x = 2",
            {"x": "u.x", "*": "any.z u.x"},
            id="a name that only an unknown table can have",
        ),
        pytest.param(
            'SELECT "x", U.Y AS "Y" FROM U',
            {"x": "u.x", "Y": "u.y"},
            id="case is folded outside of quotes",
        ),
    ],
)
def test_lineage_lists_the_columns_read(text: str, expected: dict[str, str]) -> None:
    assert lineage(text) == expected


@pytest.mark.parametrize(
    ("text", "columns"),
    [
        ("SELECT * FROM t JOIN u USING (a)", ("a", "b", "c", "day", "x", "y")),
        (
            "SELECT * FROM (SELECT a, x FROM u) q, (SELECT b, x AS a FROM u, t) r JOIN t USING (b)",
            ("a", "x", "b", "c", "day"),
        ),
        ("SELECT u.*, b AS more FROM u, t", ("a", "x", "y", "more")),
        ("SELECT count(*), x::text, sum(y) OVER (), (u).a FROM u", ("count", "x", "sum", "a")),
        ("SELECT * FROM (VALUES (1, 2)) AS v (n)", ("n", "column2")),
        ("SELECT * FROM any", None),
        ("SELECT x, y + 1 FROM u", None),
    ],
)
def test_column_names_equal_those_of_postgres(text: str, columns: tuple[str, ...] | None) -> None:
    assert derived(text).columns == columns


@pytest.mark.parametrize(
    ("text", "note"),
    [
        ("SELECT FROM WHERE", "sqlglot cannot read it: "),
        ("SELECT 'a", "PostgreSQL cannot read it: "),
        ("SELECT 1 AS x; SELECT 2 AS x", "it has 2 statements"),
        ("DELETE FROM u", "it is not a SELECT: it begins with"),
        ("SELECT nothing FROM u", "no table here is known to have the column 'nothing'"),
        ("SELECT u.nothing FROM u", "'u' has no column 'nothing' that is known"),
        ("SELECT 1 AS x FROM pg_class", "it reads pg_class, which is none of the job's inputs"),
        ("SELECT 1 AS x FROM s.u", "it reads s.u, which is none of the job's inputs"),
        ("SELECT x FROM u TABLESAMPLE SYSTEM (1)", "TABLE has sample, which is not understood"),
        ("SELECT x FROM u FOR UPDATE", "SELECT has locks, which is not understood"),
        ("SELECT x FROM u NATURAL JOIN any", "a NATURAL JOIN needs the columns of both sides"),
        ("SELECT sum(x) OVER w FROM u", "there is no window 'w'"),
        (
            "WITH RECURSIVE q AS (SELECT 1 AS x FROM u), u AS (SELECT 1) SELECT x FROM q",
            "it reads u, ",
        ),
        ("SELECT " + "(" * 3000 + "1" + ")" * 3000, "it is nested too deep"),
    ],
)
def test_unsupported_sql_has_no_lineage_and_a_note(text: str, note: str) -> None:
    found = derived(text)
    assert (found.columns, found.lineage) == (None, None)
    assert found.note is not None
    assert found.note.startswith(f"its columns cannot be derived from the SQL: {note}")


@pytest.mark.parametrize(
    ("text", "note"),
    [
        ("SELECT * FROM any", "its column names are unknown: * stands for columns that are"),
        ("SELECT x, y + 1 FROM u", "its column names are unknown: name column 2 of the SELECT"),
    ],
)
def test_unknown_names_are_noted(text: str, note: str) -> None:
    assert (derived(text).note or "").startswith(note)


def test_an_unnamed_column_counts_for_every_column() -> None:
    assert lineage("SELECT x, y + 1 FROM u") == {"x": "u.x", "*": "u.y"}
