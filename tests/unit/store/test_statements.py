"""Every named statement has a caller, and every caller names an existing statement."""

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from engine.store.queries import load_queries, sql_dir
from tests.support.compose import ROOT

_NAME = re.compile(r"[a-z_]+\.(?!sql$)[a-z_]+")


@cache
def statements() -> frozenset[str]:
    return frozenset(load_queries(sql_dir() / "queries"))


@cache
def called() -> frozenset[str]:
    """Return the texts in the code that are, or resemble, names of statements."""
    modules = [path for package in ("engine", "consumers") for path in (ROOT / package).rglob("*")]
    return frozenset(name for path in modules if path.suffix == ".py" for name in _named(path))


def _named(path: Path) -> Iterator[str]:
    # The demo has a separate reader of statements, which adds the file name.
    prefix = "demo." if path.parent.name == "demo" else ""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield from (name for name in (node.value, prefix + node.value) if _NAME.fullmatch(name))


def test_every_statement_has_a_caller() -> None:
    assert statements() - called() == set()


def test_every_caller_names_a_statement() -> None:
    files = {name.partition(".")[0] for name in statements()} - {"demo"}
    of_files = {name for name in called() if name.partition(".")[0] in files}
    assert of_files - statements() == set()
