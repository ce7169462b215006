"""Generated queries: fixed seeds of what `make perturb` does with any."""

from collections.abc import Iterator

import psycopg
import pytest
from sqlglot.parsers.postgres import PostgresParser

from engine.lineage.sql import parse as parsing
from tests.perturbation.oracle import Oracle
from tests.support.corpora import load
from tests.support.dependencies import recorded, traced

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
def test_the_tracer_reads_all_columns_that_a_view_depends_on(
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


def test_a_part_that_is_lost_is_found_by_the_catalog(
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
