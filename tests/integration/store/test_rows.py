"""The fields of the structs for rows are the columns of their statements, in order."""

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


@cache
def fetched() -> dict[str, set[type[msgspec.Struct]]]:
    """Return the structs used by the code to fetch the rows of each statement."""
    structs: dict[str, set[type[msgspec.Struct]]] = {}
    for path in _modules():
        for call in _fetches(path):
            name, row = call.args[1:3]
            assert isinstance(name, ast.Constant), ast.unparse(call)
            module = import_module(".".join(path.relative_to(ROOT).with_suffix("").parts))
            structs.setdefault(name.value, set()).add(eval(ast.unparse(row), vars(module)))
    return structs


def _modules() -> Iterator[Path]:
    for package in ("engine", "consumers"):
        yield from sorted((ROOT / package).rglob("*.py"))


def _fetches(path: Path) -> Iterator[ast.Call]:
    """Yield the calls with a struct argument."""
    for node in ast.walk(ast.parse(path.read_text())):
        is_call = isinstance(node, ast.Call) and len(node.args) == 3
        if is_call and ast.unparse(node.func) in ("fetch", "fetch_one"):
            yield node


@pytest.fixture(scope="module")
def columns(postgres_url: str, template: str) -> dict[str, dict[str, str]]:
    """The columns of each statement, with their types."""
    path = "-c search_path=pg_catalog,pg_temp"
    with psycopg.connect(with_database(postgres_url, template), options=path) as conn:
        conn.autocommit = True
        statements = load_queries(sql_dir() / "queries")
        return {name: describe(conn, statements[name]) for name in fetched()}


@pytest.mark.parametrize("name", sorted(fetched()))
def test_fields_are_columns(name: str, columns: dict[str, dict[str, str]]) -> None:
    for struct in fetched()[name]:
        assert list(struct.__struct_fields__) == [*columns[name]], struct
        hints = get_type_hints(struct)
        for column, kind in columns[name].items():
            assert _holds(hints[column], kind), (struct, column, kind)


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
