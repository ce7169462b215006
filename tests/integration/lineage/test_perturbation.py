"""Derived column lineage against Postgres: clean columns stay unchanged.

`PERTURB_SEED` repeats a run, `PERTURB_ROUNDS` extends it.
"""

import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from random import Random, SystemRandom
from typing import Any

import psycopg
import pytest

from engine.lineage.columns import ALL_COLUMNS
from engine.lineage.sql.expressions import Expressions
from engine.lineage.sql.query import Tracer
from engine.lineage.sql.relation import NOTHING, Relation
from tests.support.corpora import Corpus, columns_of, create, load, query
from tests.support.perturbation import fill, trials, violations
from tests.support.queries import TABLES, Writer

SEED = int(os.environ.get("PERTURB_SEED") or SystemRandom().randrange(2**32))
ROUNDS = int(os.environ.get("PERTURB_ROUNDS", "2"))
CORPORA = "tpch", "tpcds", "features", "flights"


@pytest.fixture
def conn(empty_database_url: str) -> Iterator[psycopg.Connection]:
    with psycopg.connect(empty_database_url, autocommit=True) as conn:
        yield conn


@pytest.mark.timeout(60 + 30 * ROUNDS)
@pytest.mark.parametrize("name", CORPORA)
def test_columns_predicted_clean_do_not_change(conn: psycopg.Connection, name: str) -> None:
    print(f"PERTURB_SEED={SEED} PERTURB_ROUNDS={ROUNDS}")
    found = violations(conn, load(conn, name), Random(SEED), rounds=ROUNDS, tries=8)
    assert list(found) == []


@pytest.mark.timeout(60 + 30 * ROUNDS)
def test_columns_of_random_queries_predicted_clean_do_not_change(conn: psycopg.Connection) -> None:
    print(f"PERTURB_SEED={SEED} PERTURB_ROUNDS={ROUNDS}")
    create(conn, TABLES)
    texts = (Writer(Random(SEED + n)).query() for n in range(40 * ROUNDS))
    sound = {text: names for text in texts if (names := columns_of(conn, text))}
    short = _short(conn, sound)
    assert short
    for text in short:
        names = sound[text]
        derived = query(text, text, TABLES)
        assert set(derived.columns or names) == set(names), text
        found = violations(conn, Corpus(TABLES, (derived,)), Random(SEED), rounds=1, tries=6)
        # A scalar subquery may return two rows, which is unrelated to its columns.
        with suppress(psycopg.errors.CardinalityViolation):
            assert list(found) == []


def _short(conn: psycopg.Connection, texts: Iterable[str]) -> list[str]:
    """Exclude cross joins: millions of rows add no evidence."""
    with conn.transaction(force_rollback=True):
        fill(conn, Corpus(TABLES, ()), Random(SEED))
        conn.execute("SET LOCAL statement_timeout = '2s'")
        return [text for text in texts if _is_short(conn, text)]


def _is_short(conn: psycopg.Connection, text: str) -> bool:
    limited = f"SELECT count(*) FROM (SELECT FROM ({text}) AS q LIMIT 10001) AS r"
    try:
        with conn.transaction():
            return conn.execute(limited.encode()).fetchone()[0] <= 10_000  # type: ignore[index]
    except psycopg.errors.CardinalityViolation:
        return True
    except psycopg.errors.QueryCanceled:  # millions of intermediate rows for a short result
        return False


@pytest.mark.parametrize("name", CORPORA)
def test_derived_column_names_equal_those_of_postgres(conn: psycopg.Connection, name: str) -> None:
    for each in load(conn, name).queries:
        names = dict.fromkeys(columns_of(conn, each.text))
        assert each.columns is None or each.columns == tuple(names), each.name


# Pairs of a query and a readable column with lineage narrower than "everything".
@pytest.mark.parametrize(
    ("name", "narrow", "pairs"),
    [("tpch", 471, 656), ("tpcds", 632, 892), ("features", 388, 505), ("flights", 177, 230)],
)
def test_the_number_of_clean_columns_is_pinned(
    conn: psycopg.Connection, name: str, narrow: int, pairs: int
) -> None:
    found = trials(load(conn, name))
    assert (sum(trial.dirty is not ALL_COLUMNS for trial in found), len(found)) == (narrow, pairs)


def forgetful(method: Callable[..., Any], answer: Callable[..., Any]) -> Callable[..., Any]:
    """The method with a different result; every column is still visited."""

    def mutated(*args: Any) -> Any:
        method(*args)
        return answer(*args)

    return mutated


def nothing(*_: Any) -> Any:
    return NOTHING


def itself(relation: Relation, _: Any) -> Relation:
    return relation


MUTANTS = [
    (Relation, "shaped", itself, "tpch"),
    (Expressions, "multiplied", nothing, "features"),
    (Tracer, "_distinct", nothing, "features"),
    (Tracer, "_moved_by_order", nothing, "features"),
]


@pytest.mark.parametrize(("owner", "method", "answer", "name"), MUTANTS)
def test_an_incomplete_tracer_is_detected(
    conn: psycopg.Connection,
    monkeypatch: pytest.MonkeyPatch,
    owner: type,
    method: str,
    answer: Callable[..., Any],
    name: str,
) -> None:
    monkeypatch.setattr(owner, method, forgetful(getattr(owner, method), answer))
    assert next(violations(conn, load(conn, name), Random(1), rounds=5, tries=99), None)
