"""Canonical texts against PostgreSQL: queries that count as equal have equal view definitions."""

from collections.abc import Iterable, Iterator
from random import Random

import psycopg
import pytest

from engine.lineage.sql.canonical import canonical
from engine.lineage.sql.lexer import Token, tokens
from tests.support.corpora import load

CORPORA = ("tpch", "tpcds", "features")
INSERTIONS = 40


@pytest.fixture
def conn(empty_database_url: str) -> Iterator[psycopg.Connection]:
    with psycopg.connect(empty_database_url, autocommit=True) as conn:
        yield conn


@pytest.mark.timeout(300)
@pytest.mark.parametrize("name", CORPORA)
def test_equal_queries_have_equal_view_definitions(conn: psycopg.Connection, name: str) -> None:
    compared = 0
    for query in load(conn, name).queries:
        defined = definition(conn, query.text)
        for other in edited(query.text):
            if canonical(other) == canonical(query.text):
                other_defined = definition(conn, other)
                compared += other_defined is not None
                assert other_defined in (defined, None), (query.text, other)
    assert compared > 100


@pytest.mark.timeout(300)
@pytest.mark.parametrize("name", CORPORA)
def test_the_form_of_a_query_does_not_count(conn: psycopg.Connection, name: str) -> None:
    for query in load(conn, name).queries:
        assert canonical(query.text) == canonical(respaced(query.text))


def definition(conn: psycopg.Connection, text: str) -> str | None:
    """The definition of a view with fully parenthesized expressions; None if it is invalid."""
    try:
        with conn.transaction(force_rollback=True):
            conn.execute(f"CREATE VIEW compared AS {text.rstrip().rstrip(';')}".encode())
            row = conn.execute("SELECT pg_get_viewdef('compared'::regclass)").fetchone()
            return None if row is None else str(row[0])
    except psycopg.Error:
        return None


def edited(text: str) -> Iterator[str]:
    """Yield the text without each of its pairs of parentheses, and with further pairs."""
    lexed = list(tokens(text))
    for first, last in pairs(lexed):
        yield joined(token for n, token in enumerate(lexed) if n not in (first, last))
    rng = Random(text)
    for _ in range(INSERTIONS):
        first = rng.randrange(len(lexed))
        last = min(first + rng.choice([0, 0, 2, 2, 4, 6]), len(lexed) - 1)
        before, inside, after = lexed[:first], lexed[first : last + 1], lexed[last + 1 :]
        yield f"{joined(before)} ({joined(inside)}) {joined(after)}"


def pairs(lexed: list[Token]) -> Iterator[tuple[int, int]]:
    stack: list[int] = []
    for position, token in enumerate(lexed):
        if token.text == "(":
            stack.append(position)
        elif token.text == ")":
            yield stack.pop(), position


def joined(lexed: Iterable[Token]) -> str:
    return " ".join(token.text for token in lexed).replace(": :", "::")


def respaced(text: str) -> str:
    """Write every token on a line of its own, with a comment, and words in capitals."""
    lines = (
        token.text.upper() if token.kind == "word" and token.text.isascii() else token.text
        for token in tokens(text)
    )
    return " -- comment\n".join(lines).replace(": -- comment\n:", "::")
