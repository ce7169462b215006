"""The SQL reader's lists of functions against the catalog of PostgreSQL."""

from collections.abc import Iterator

import psycopg
import pytest

from engine.flow.deployment.current_versions import load_user_defined
from engine.lineage.sql.functions import (
    AGGREGATES,
    BY_ORDER,
    CONSTRUCTS,
    SCALARS,
    SETS,
    may_be_column,
    may_be_field,
)
from engine.store.database import Database

_FUNCTIONS = """
    SELECT proname, string_agg(DISTINCT prokind::text, ''), bool_or(proretset),
        string_agg(DISTINCT provolatile::text, '')
    FROM pg_proc WHERE pronamespace = 'pg_catalog'::regnamespace GROUP BY proname
"""
_ONE_ARGUMENT = """
    SELECT DISTINCT proname FROM pg_proc JOIN pg_type t ON t.oid = prorettype
    WHERE pronamespace = 'pg_catalog'::regnamespace AND pronargs > 0
        AND pronargs - pronargdefaults <= 1 AND proargtypes[0] <> 'internal'::regtype
        AND t.typname !~ '_handler$|^trigger$'
"""


@pytest.fixture
def conn(empty_database_url: str) -> Iterator[psycopg.Connection]:
    with psycopg.connect(empty_database_url, autocommit=True) as conn:
        yield conn


def test_each_function_is_in_the_right_list(conn: psycopg.Connection) -> None:
    known = {name: rest for name, *rest in conn.execute(_FUNCTIONS)}
    for name in SCALARS & known.keys():  # some are newer than the oldest supported server
        kinds, is_set, volatilities = known[name]
        assert (kinds, is_set, "v" in volatilities) == ("f", False, False), name
    for name in AGGREGATES - CONSTRUCTS - {"json_arrayagg"}:
        assert set(known[name][0]) <= {"a", "w"}, name
    assert all(known[name][1] for name in SETS)
    assert len(SCALARS - known.keys()) < 20


def test_every_order_sensitive_aggregate_is_listed(conn: psycopg.Connection) -> None:
    """An aggregate is independent of the order of rows if it is a number, a set or an extreme."""
    names = {row[0] for row in conn.execute(
        "SELECT proname FROM pg_proc JOIN pg_type t ON t.oid = prorettype WHERE prokind = 'a'"
        " AND pronamespace = 'pg_catalog'::regnamespace AND proname NOT IN ('min', 'max')"
        " AND (typcategory NOT IN ('N', 'B', 'T', 'V', 'R') OR proname ~ '^(any|mode|first)')"
    )}  # fmt: skip
    ordered = {"percentile_cont", "percentile_disc", "range_intersect_agg", "range_agg"}
    bitwise = {"bit_and", "bit_or", "bit_xor"}
    assert names - ordered - bitwise <= BY_ORDER


def test_names_of_functions_are_not_treated_as_columns_or_fields(conn: psycopg.Connection) -> None:
    calls = conn.execute(
        f"{_ONE_ARGUMENT} AND (proretset OR prokind <> 'f' OR provolatile = 'v')".encode()
    ).fetchall()
    handlers = {"bernoulli", "system", "dsnowball_init", "plpgsql_inline_handler"}
    assert [name for (name,) in calls if may_be_field(name) and name not in handlers] == []
    rows = conn.execute(
        f"{_ONE_ARGUMENT} AND proargtypes[0]::regtype::text IN "
        "('record', '\"any\"', 'anyelement', 'anycompatible', 'anynonarray')".encode()
    ).fetchall()
    assert rows
    assert [name for (name,) in rows if may_be_column(name)] == []


async def test_the_catalog_lists_user_defined_objects(database: Database) -> None:
    async with database.connection() as conn:
        before = await load_user_defined(conn)
        for statement in _DEFINED.split(";\n"):
            await conn.execute(statement.encode())
        after = await load_user_defined(conn)
    assert after.functions - before.functions == {
        "left", "right", "tally", "plus", "minus", "best", "cast_it",
    }  # fmt: skip
    assert after.unsafe - before.unsafe == {"left", "tally", "plus", "cast_it"}
    assert after.operators - before.operators == {"+", "::"}
    assert not before.operators


_DEFINED = """
CREATE SCHEMA hers;
CREATE FUNCTION hers."left"(int[]) RETURNS SETOF int IMMUTABLE LANGUAGE sql AS 'SELECT unnest($1)';
CREATE FUNCTION "right"(int[]) RETURNS int IMMUTABLE LANGUAGE sql AS 'SELECT $1[1]';
CREATE FUNCTION plus(int[], int[]) RETURNS int STABLE LANGUAGE sql AS 'SELECT 1';
CREATE FUNCTION minus(int[], int[]) RETURNS int IMMUTABLE LANGUAGE sql AS 'SELECT 1';
CREATE OPERATOR + (FUNCTION = plus, LEFTARG = int[], RIGHTARG = int[]);
CREATE OPERATOR - (FUNCTION = minus, LEFTARG = int[], RIGHTARG = int[]);
CREATE AGGREGATE tally(int) (SFUNC = int4pl, STYPE = int);
CREATE AGGREGATE best(int) (SFUNC = int4larger, STYPE = int, SORTOP = >);
CREATE FUNCTION cast_it(point) RETURNS int STABLE LANGUAGE sql AS 'SELECT 1';
CREATE CAST (point AS int) WITH FUNCTION cast_it(point)
"""
