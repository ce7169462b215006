"""Rows of every named statement are structs, whose fields are its columns in order."""

import ast
from collections.abc import Iterator
from datetime import datetime
from functools import cache
from importlib import import_module
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints
from uuid import UUID

import msgspec
import psycopg
import pytest

from engine.store.queries import load_queries, sql_dir
from tests.support.compose import ROOT
from tests.support.databases import with_database
from tests.support.statements import describe

_FETCHING = ("fetch", "fetch_one", "fetch_last", "stream")
_PYTHON_TYPES: dict[str, type] = {
    "bigint": int,
    "boolean": bool,
    "bytea": bytes,
    "double precision": float,
    "integer": int,
    "name": str,
    "oid": int,
    "real": float,
    "text": str,
    "timestamp with time zone": datetime,
    "uuid": UUID,
}
_DEMO = "CREATE SCHEMA nyc CREATE TABLE weather (time_hour timestamptz)"
"""The table of a demo's source, which the schema does not contain."""


@cache
def fetched() -> dict[str, set[type[msgspec.Struct]]]:
    """Return the structs used by the code to fetch the rows of each statement."""
    structs: dict[str, set[type[msgspec.Struct]]] = {}
    for path in _modules():
        for call in _fetches(path):
            _, name, row = call.args
            struct = eval(ast.unparse(row), vars(_module(path)))
            for constant in _names(name):
                structs.setdefault(constant, set()).add(struct)
    return structs


def _modules() -> Iterator[Path]:
    for package in ("engine", "consumers"):
        yield from sorted((ROOT / package).rglob("*.py"))


def _module(path: Path) -> Any:
    return import_module(".".join(path.relative_to(ROOT).with_suffix("").parts))


def _fetches(path: Path) -> Iterator[ast.Call]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Call) and ast.unparse(node.func) in _FETCHING:
            yield node


def _names(node: ast.expr) -> list[str]:
    """Return the name of a statement, or both names of a conditional expression."""
    if isinstance(node, ast.IfExp):
        return _names(node.body) + _names(node.orelse)
    assert isinstance(node, ast.Constant), ast.unparse(node)
    return [node.value]


def stored_structs() -> set[type[msgspec.Struct]]:
    """Return the structs defined for rows."""
    modules = map(_module, (ROOT / "engine/store/rows").glob("*.py"))
    return {
        member
        for module in modules
        for member in vars(module).values()
        if isinstance(member, type) and member.__module__ == module.__name__
    }


@pytest.fixture(scope="module")
def columns(postgres_url: str, template: str) -> dict[str, dict[str, str]]:
    """The columns of each statement, with their types."""
    path = "-c search_path=pg_catalog,pg_temp"
    with psycopg.connect(with_database(postgres_url, template), options=path) as conn:
        conn.execute(_DEMO)
        statements = load_queries(sql_dir() / "queries")
        described = {name: describe(conn, text) for name, text in statements.items()}
        conn.rollback()
    return described


@pytest.mark.parametrize("name", sorted(fetched()))
def test_fields_are_columns(name: str, columns: dict[str, dict[str, str]]) -> None:
    for struct in fetched()[name]:
        assert list(struct.__struct_fields__) == [*columns[name]], struct
        hints = get_type_hints(struct)
        for column, kind in columns[name].items():
            assert _holds(hints[column], kind), (struct, column, kind)


def test_every_statement_that_returns_rows_has_a_struct(
    columns: dict[str, dict[str, str]],
) -> None:
    returning = {name for name, types in columns.items() if not _is_for_effect(types)}
    assert returning == fetched().keys()


def test_every_struct_has_a_statement() -> None:
    used = {base for structs in fetched().values() for each in structs for base in each.__mro__}
    assert stored_structs() - used == set()


def _is_for_effect(types: dict[str, str]) -> bool:
    """Return True for statements without columns, and for calls such as those of locks."""
    return all(
        kind == "void" or column.startswith(("pg_", "set_config")) for column, kind in types.items()
    )


def _holds(hint: Any, kind: str) -> bool:
    """Check that a field of a type holds values of a type of PostgreSQL, apart from nulls."""
    if get_origin(hint) in (Union, UnionType):
        return any(_holds(part, kind) for part in get_args(hint) if part is not NoneType)
    if get_origin(hint) is Literal:
        return all(isinstance(value, _PYTHON_TYPES[kind]) for value in get_args(hint))
    if kind in ("json", "jsonb"):
        return True
    if kind.endswith("[]"):
        return get_origin(hint) is list and _holds(get_args(hint)[0], kind[:-2])
    return isinstance(hint, type) and issubclass(hint, _PYTHON_TYPES[kind])
