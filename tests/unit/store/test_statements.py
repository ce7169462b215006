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
    for node in ast.walk(ast.parse(path.read_text())):
        is_text = isinstance(node, ast.Constant) and isinstance(node.value, str)
        if is_text and _NAME.fullmatch(node.value):
            yield node.value


def test_every_statement_has_a_caller() -> None:
    assert statements() - called() == set()


def test_every_caller_names_a_statement() -> None:
    files = {name.partition(".")[0] for name in statements()}
    of_files = {name for name in called() if name.partition(".")[0] in files}
    assert of_files - statements() == set()
