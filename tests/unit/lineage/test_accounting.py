"""Queries with constructs that the SQL reader does not support: they read all columns."""

import pytest

from engine.lineage.sql import NOTHING_DEFINED, Relation, UserDefined, derive, preserved_columns

INPUTS = {
    "t": Relation.of_input("t", ["a", "b", "c", "xs"]),
    "wide": Relation.of_input("wide", None),
}


def note(text: str, user_defined: UserDefined = NOTHING_DEFINED) -> str:
    """The reason why a query is unresolved."""
    found = derive(text, INPUTS, {}, user_defined)
    assert found.lineage is None, found.lineage
    return (found.note or "").removeprefix("its columns cannot be derived from the SQL: ")


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("SELECT a FROM t TABLESAMPLE SYSTEM (1)", "TABLE has sample"),
        ("SELECT a FROM ONLY t", "TABLE has only"),
        ("SELECT a FROM t FOR UPDATE", "SELECT has locks"),
        ("SELECT a, sum(b) FROM t GROUP BY ALL", "GROUP has all"),
        ("SELECT a FROM t QUALIFY b > 1", ""),
        ("SELECT a OPERATOR(public.+) b AS r FROM t", "OPERATOR is not understood"),
        ("SELECT $1 AS r FROM t", "sqlglot cannot read it"),
        ("SELECT {b} AS r FROM t", "PostgreSQL cannot read it"),
        ("SELECT first_value(a) IGNORE NULLS OVER (ORDER BY b) AS r FROM t", ""),
        ("SELECT interval(b) AS r FROM t", "INTERVAL is not followed by a text"),
        ("SELECT interval + 1 AS r FROM wide", "INTERVAL is not followed by a text"),
        ("SELECT if(a, b) AS r FROM t", "'if' is missing in the tree"),
        ("SELECT a FROM t SEMI JOIN wide ON true", "JOIN has kind"),
        ("SELECT * FROM t JOIN wide USING (a) AS j", ""),
        ("SELECT json_object('a': b) AS r FROM t", "sqlglot cannot read it"),
        ("WITH RECURSIVE r AS (SELECT 1 AS n) SEARCH DEPTH FIRST BY n SET o SELECT n FROM r", ""),
        ("SELECT a FROM t, LATERAL ROWS FROM (unnest(xs)) AS u", ""),
    ],
)
def test_unsupported_syntax_is_noted(text: str, reason: str) -> None:
    assert note(text).startswith(reason)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("SELECT a\u00a0b FROM t", "sqlglot misreads 'a'"),
        ('SELECT U&"\\0061" FROM wide', 'U&"\\0061" is written with escapes'),
        ("SELECT a AS f\u0131lter FROM t", ""),
        ("\u017felect a FROM t", ""),
        ("SELECT a /* /* */ FROM t", "PostgreSQL cannot read it: a comment has no end"),
    ],
)
def test_text_tokenized_differently_by_the_server_is_noted(text: str, reason: str) -> None:
    assert note(text).startswith(reason)


@pytest.mark.parametrize(
    "text",
    [
        "SELECT my_function(a) AS r FROM t",
        "SELECT random() AS r FROM t",
        "SELECT a FROM t WHERE query_to_xml('SELECT c FROM t', true, true, '') IS NULL",
        "SELECT s.left(a, 1) AS r FROM t",
        "SELECT r FROM my_rows(1) AS r",
        "SELECT r FROM t, LATERAL my_rows(a) AS r",
        "SELECT (SELECT my_aggregate(b) FROM t) AS r",
    ],
)
def test_an_unlisted_function_is_noted(text: str) -> None:
    note(text)


@pytest.mark.parametrize(
    "text",
    [
        "SELECT wide.row_to_json AS r FROM wide",
        "SELECT wide.count AS r FROM wide",
        "SELECT q.array_agg AS r FROM wide AS q",
        "SELECT (xs).unnest AS r FROM t",
        "SELECT (a).sum AS r FROM t",
        "SELECT (t).count AS r FROM t",
        "SELECT (a).pg_sleep AS r FROM t",
    ],
)
def test_a_column_or_field_that_may_be_a_call_is_noted(text: str) -> None:
    note(text)


USER_DEFINED = UserDefined(
    functions=frozenset({"left", "mine", "harmless"}),
    unsafe=frozenset({"left", "mine"}),
    operators=frozenset({"+"}),
)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ('SELECT "left"(xs) AS r FROM t', "a function 'left' is also defined"),
        ("SELECT LEFT (b, 1) AS r FROM t", "a function 'left' is also defined"),
        ("SELECT wide.harmless AS r FROM wide", "wide.harmless may be a function"),
        ("SELECT (b).harmless AS r FROM t", "'harmless' behind a dot"),
        ("SELECT a + b AS r FROM t", "an operator + is also defined"),
        ("SELECT b FROM t ORDER BY a+-b LIMIT 1", "an operator + is also defined"),
    ],
)
def test_a_name_defined_by_the_database_is_noted(text: str, reason: str) -> None:
    assert derive(text, INPUTS, {}).lineage is not None
    assert note(text, USER_DEFINED).startswith(reason)
    assert (
        preserved_columns(
            f"SELECT q.* FROM ({text}) AS q", {"t": ["a", "b", "xs"]}, {}, USER_DEFINED
        )
        == {}
    )


def test_an_operator_implied_by_keywords_is_noted() -> None:
    equal = UserDefined(operators=frozenset({"="}))
    assert note("SELECT DISTINCT a FROM t", equal).startswith("an operator = is also defined")


def test_a_user_defined_name_that_is_not_called_is_accepted() -> None:
    assert derive("SELECT t.a AS mine FROM t", INPUTS, {}, USER_DEFINED).lineage is not None


@pytest.mark.parametrize(
    ("text", "read"),
    [
        ("SELECT xs[:a] AS r FROM t", {"t.xs", "t.a"}),
        ("SELECT xs[: a] AS r FROM t", {"t.xs", "t.a"}),
        ("SELECT xs[:a+b] AS r FROM t", {"t.xs", "t.a", "t.b"}),
        ("SELECT xs[c:][:a] AS r FROM t", {"t.xs", "t.a", "t.c"}),
        ("SELECT max(xs[1]) FILTER (WHERE xs[:a] = xs) AS r FROM t", {"t.xs", "t.a"}),
        ("SELECT wide.weight AS r FROM wide", {"wide.weight"}),
        ("SELECT (xs).upper AS r FROM t", {"t.xs"}),
        ("SELECT 'it''s' || $$a$$ || E'\\'' || b AS r /* c */ FROM t -- c", {"t.b"}),
        ("SELECT a AS \u00d6l FROM t", {"t.a"}),
        ("SELECT sum(a) OVER (ORDER BY b ROWS 1 PRECEDING EXCLUDE TIES) AS r FROM t",
         {"t.a", "t.b"}),
        ("SELECT extract(epoch FROM b) + 1.5e3 + .5 AS r FROM t", {"t.b"}),
        ("SELECT CAST(a AS double precision) + b::int4 AS r FROM t", {"t.a", "t.b"}),
        ("SELECT b AT TIME ZONE c AS r FROM t", {"t.b", "t.c"}),
        ("SELECT a -- comment\r + b AS r FROM t", {"t.a", "t.b"}),
        ("SELECT sum(a) AS r FROM t GROUP /* c */ BY b", {"t.a"}),
        ("SELECT sum(a) OVER (PARTITION -- c\n BY b ORDER /* c */ BY a) AS r FROM t",
         {"t.a", "t.b"}),
        ("SELECT sum(a) AS r FROM t GROUP BY DISTINCT ROLLUP (b)", {"t.a"}),
    ],
)  # fmt: skip
def test_supported_syntax_keeps_narrow_lineage(text: str, read: set[str]) -> None:
    found = derive(text, INPUTS, {})
    assert found.lineage is not None, found.note
    ((_, reads),) = [each for each in found.lineage.items() if each[0] != "*"]
    assert {f"{each.alias}.{each.column}" for each in reads} == read


def test_only_ascii_letters_are_folded() -> None:
    assert derive("SELECT A AS \u00d6L, b AS \u00c9\u0130 FROM t", INPUTS, {}).columns == (
        "\u00d6l",
        "\u00c9\u0130",
    )


def test_a_name_is_cut_at_63_bytes() -> None:
    name = "\u00d6" * 40
    (column,) = derive(f"SELECT a AS {name} FROM t", INPUTS, {}).columns or ()
    assert column == "\u00d6" * 31


def test_an_alias_of_a_parenthesized_join_hides_its_tables() -> None:
    inputs = {"q": Relation.of_input("q", ["id", "w"]), "v": Relation.of_input("v", ["w"])}
    text = """
        SELECT s.id, (SELECT max(s.w) FROM (v CROSS JOIN (SELECT 1 AS one) AS o) AS s) AS m
        FROM q AS s
    """
    found = derive(text, inputs, {})
    assert found.lineage is not None
    assert {(each.alias, each.column) for each in found.lineage["m"]} == {("v", "w")}
    assert derive(text.replace("s.w", "v.w"), inputs, {}).lineage is None


_SYMBOLS = """
    + - * / % ^ = <> != < <= > >= || | & # ~ << >> && @> <@ ? ?| ?& -> ->> #> #>> #- @? @@ ~~ !~~
    ~~* !~~* !~ ~* !~* <-> -|- &< &> <<| |>> &<| |&> ^@ |/ ||/ @ @@@ <<= >>= ## ?# ?- ?-| ?|| ~=
    ~>=~ *= *<> <#> @-@ !! <% %> ~<~
"""


@pytest.mark.parametrize("symbol", _SYMBOLS.split())
def test_operators_do_not_hide_their_operands(symbol: str) -> None:
    """A query with an operator that sqlglot rejects or misparses is left unresolved."""
    for text, read in (
        (f"SELECT a {symbol} b AS r FROM t", {"a", "b"}),
        (f"SELECT a{symbol}b AS r FROM t", {"a", "b"}),
        (f"SELECT {symbol} b AS r FROM t", {"b"}),
        (f"SELECT a {symbol} b {symbol} c AS r FROM t", {"a", "b", "c"}),
        (f"SELECT a {symbol} ANY (b) AS r FROM t", {"a", "b"}),
        (f"SELECT max(a) {symbol} -b AS r FROM t", {"a", "b"}),
    ):
        lineage = derive(text, INPUTS, {}).lineage
        assert lineage is None or read <= {each.column for each in lineage["r"]}, text


@pytest.mark.parametrize("more", ["OFFSET 3", "LIMIT 3", "LIMIT 3 OFFSET 3"])
def test_rows_chosen_by_their_number_preserve_no_column(more: str) -> None:
    assert preserved_columns("SELECT a FROM t ORDER BY a", {"t": ["a", "b"]}) != {}
    assert preserved_columns(f"SELECT a FROM t ORDER BY a {more}", {"t": ["a", "b"]}) == {}
