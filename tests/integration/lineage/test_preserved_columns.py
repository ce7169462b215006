"""Preserved columns against Postgres: rows with a value affect only rows with the same value."""

import os
from collections import Counter
from collections.abc import Iterator
from random import Random, SystemRandom

import psycopg
import pytest
from psycopg import sql

from engine.lineage.sql.preserved import preserved_columns
from engine.lineage.sql.relation import Read
from tests.support.corpora import Corpus, load
from tests.support.perturbation import change_rows_of, fill

SEED = int(os.environ.get("PERTURB_SEED") or SystemRandom().randrange(2**32))
ROUNDS = int(os.environ.get("PERTURB_ROUNDS", "2"))
CORPORA = "tpch", "tpcds", "features", "flights"


@pytest.fixture
def conn(empty_database_url: str) -> Iterator[psycopg.Connection]:
    with psycopg.connect(empty_database_url, autocommit=True) as conn:
        yield conn


def _passed(corpus: Corpus) -> list[tuple[str, str, Read]]:
    """(query, output column, preserved column)."""
    return [
        (query.text, output, read)
        for query in corpus.queries
        for output, reads in preserved_columns(query.text, corpus.tables).items()
        for read in sorted(reads)
    ]


@pytest.mark.timeout(60 + 30 * ROUNDS)
@pytest.mark.parametrize("name", CORPORA)
def test_changes_of_rows_with_one_value_do_not_change_other_rows(
    conn: psycopg.Connection, name: str
) -> None:
    print(f"PERTURB_SEED={SEED} PERTURB_ROUNDS={ROUNDS}")
    corpus, random = load(conn, name), Random(SEED)
    for _ in range(ROUNDS):
        with conn.transaction(force_rollback=True):
            fill(conn, corpus, random)
            for text, output, read in _passed(corpus):
                assert _others_stay(conn, corpus, random, text, output, read), (text, output, read)


def _others_stay(
    conn: psycopg.Connection, corpus: Corpus, random: Random, text: str, output: str, read: Read
) -> bool:
    values = _column(conn, read)
    if not values:
        return True
    value = random.choice(values)
    before = _apart_from(conn, text, output, value)
    with conn.transaction(force_rollback=True):
        change_rows_of(conn, corpus, random, read.alias, read.column, value)
        return before == _apart_from(conn, text, output, value)


def _column(conn: psycopg.Connection, read: Read) -> list[str]:
    select = sql.SQL("SELECT DISTINCT {0}::text FROM {1} WHERE {0} IS NOT NULL ORDER BY 1")
    query = select.format(sql.Identifier(read.column), sql.Identifier(read.alias))
    return [value for (value,) in conn.execute(query)]


def _apart_from(conn: psycopg.Connection, text: str, output: str, value: str) -> Counter[str]:
    cursor = conn.execute(sql.SQL("WITH q AS ({}) SELECT q.*, q.{}::text FROM q").format(
        sql.SQL(text), sql.Identifier(output)  # type: ignore[arg-type]
    ))  # fmt: skip
    return Counter(repr(row) for row in cursor.fetchall() if row[-1] != value)


@pytest.mark.parametrize(("name", "least"), [("tpch", 10), ("tpcds", 10), ("flights", 10)])
def test_columns_are_passed_in_many_queries(
    conn: psycopg.Connection, name: str, least: int
) -> None:
    found = _passed(load(conn, name))
    print(len(found))
    assert len(found) >= least
