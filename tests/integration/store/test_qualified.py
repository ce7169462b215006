"""Statements name Knockon's objects with their schema, independent of the search path."""

import re
from contextlib import suppress
from typing import LiteralString, cast

import psycopg
import pytest
from psycopg.conninfo import make_conninfo
from psycopg.sql import SQL

from engine.store.queries import load_queries, sql_dir

STATEMENTS = load_queries(sql_dir() / "queries")
ABOUT_WHAT_A_TEST_LACKS = {"demo.last_day_of_weather"}
_COPY = re.compile(r"\bCOPY (\S+)")
_PARAMETER = re.compile(r"%\((\w+)\)[sbt]")


@pytest.mark.parametrize("name", sorted(STATEMENTS.keys() - ABOUT_WHAT_A_TEST_LACKS))
def test_every_statement_qualifies_its_objects(name: str, database_url: str) -> None:
    path = "-c search_path=pg_catalog,pg_temp"
    with psycopg.connect(make_conninfo(database_url, options=path), autocommit=True) as conn:
        statement = STATEMENTS[name]
        if copied := _COPY.search(statement):
            assert copied[1].startswith("knockon."), statement
        else:
            _look_up_names(conn, statement)


async def test_every_object_is_in_the_schema(database_url: str) -> None:
    with psycopg.connect(database_url) as conn:
        found = conn.execute(
            "SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace "
            "UNION ALL SELECT proname FROM pg_proc WHERE pronamespace = 'public'::regnamespace"
        )
        assert found.fetchall() == []


def _look_up_names(conn: psycopg.Connection, statement: str) -> None:
    names = dict.fromkeys(_PARAMETER.findall(statement))
    numbers = {name: f"${number}" for number, name in enumerate(names, start=1)}
    text = _PARAMETER.sub(lambda match: numbers[match[1]], statement).replace("%%", "%")
    # Types of parameters are resolved after every name has been looked up.
    with suppress(psycopg.errors.IndeterminateDatatype):
        conn.execute(SQL("PREPARE statement AS {}").format(SQL(cast("LiteralString", text))))
