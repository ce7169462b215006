"""Generated queries: `make perturb` with fixed seeds."""

from collections.abc import Iterator

import psycopg
import pytest
from sqlglot.parsers.postgres import PostgresParser

from engine.lineage.sql import Relation, derive
from engine.lineage.sql import parse as parsing
from tests.perturbation.oracle import Oracle
from tests.support.corpora import load
from tests.support.dependencies import derived, recorded, traced

SEEDS = range(7_000, 7_120)


@pytest.fixture
def conn(empty_database_url: str) -> Iterator[psycopg.Connection]:
    with psycopg.connect(empty_database_url, autocommit=True) as conn:
        yield conn


@pytest.mark.timeout(300)
def test_no_generated_query_has_a_wrong_lineage(conn: psycopg.Connection) -> None:
    oracle = Oracle(conn)
    oracle.prepare()
    assert [problem for seed in SEEDS for problem in oracle.check(seed)] == []
    print(oracle.counts)
    assert oracle.counts["with lineage"] > len(SEEDS) // 5
    assert oracle.counts["views compared"] > len(SEEDS) // 6
    assert oracle.counts["views compared with their lineage"] > 0


@pytest.mark.parametrize(("name", "least"), [("tpch", 22), ("tpcds", 29), ("features", 35)])
def test_derived_lineage_covers_the_column_dependencies_of_views(
    conn: psycopg.Connection, name: str, least: int
) -> None:
    corpus = load(conn, name)
    compared = 0
    for each in corpus.queries:
        theirs, met = recorded(conn, each.text), traced(each.text, corpus.tables)
        if theirs is not None and met is not None:
            compared += 1
            assert theirs <= met, each.name
    assert compared >= least


_FORMS = (
    "SELECT {name} + 1 AS r FROM t", "SELECT t.{name} AS r FROM t", "SELECT id {name} FROM t",
    "SELECT 1 AS r FROM t WHERE {name} IN (1)", "SELECT (ARRAY[1, 2])[:{name}] AS r FROM t",
    "SELECT {name}.id AS r FROM t AS {name}",
)  # fmt: skip
_TYPES = """
    date time text name json jsonb point box uuid money oid xml int4 float8 bool varchar numeric
    regclass bytea year month week epoch array_agg map struct list object string unknown qualify
    pivot semi anti asof apply top sample div use percent first last next zone kind ordinality
"""


@pytest.mark.timeout(300)
def test_no_keyword_hides_a_column_of_its_name(conn: psycopg.Connection) -> None:
    """Keywords and type names that PostgreSQL reads as columns are columns for the tracer, too."""
    words = {word for (word,) in conn.execute("SELECT word FROM pg_get_keywords()")}
    names = sorted(words | set(_TYPES.split()))
    listed = ", ".join(f'"{name}" int' for name in names)
    conn.execute(f"CREATE TABLE t (id int, {listed})".encode())
    tables = {"t": dict.fromkeys(["id", *names], "integer")}
    inputs = {"t": Relation.of_input("t", tables["t"])}
    resolved = 0
    for text in (form.format(name=name) for name in names for form in _FORMS):
        theirs, lineage = recorded(conn, text), derive(text, inputs, {}).lineage
        if theirs is not None and lineage is not None:
            resolved += 1
            assert theirs <= derived(lineage, tables), text
    assert resolved > 2_000


def test_the_catalog_reveals_a_dropped_subexpression(
    conn: psycopg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With sqlglot's placeholders and without the checks, ``arr[:k]`` loses its column."""
    corpus = load(conn, "features")
    (slices,) = (each.text for each in corpus.queries if each.name == "slices_that_shape_rows")
    assert (theirs := recorded(conn, slices)) is not None
    monkeypatch.setattr(parsing._Parser, "PLACEHOLDER_PARSERS", PostgresParser.PLACEHOLDER_PARSERS)
    for check in ("check_grammar", "check_complete"):
        monkeypatch.setattr(parsing, check, lambda *_: None)
    parsing.parse.cache_clear()
    met = traced(slices, corpus.tables)
    parsing.parse.cache_clear()
    assert met is not None
    assert theirs - met == {("t", "a"), ("t", "id"), ("t", "k")}
