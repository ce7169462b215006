"""The public names of `knockon`: a removed name, or an accidental addition, breaks users."""

import ast
import re
from pathlib import Path
from textwrap import dedent

import pytest

import knockon
from tests.support.compose import ROOT

NAMES = """
Client Completion Context Dataset Forbidden Format IdempotencyConflict InvalidDag InvalidEvent
InvalidFilter
InvalidInput InvalidMapping InvalidOutput InvalidPartition Job KnockonError Lease LeaseLost
Operator OutdatedCode Output PositionExpired PositionLost Result Runtime SchemaInUse
ServiceUnavailable SourceEvent TaskFailed TooCostly TooCostlyToPlan TooManyPartitions
Unauthenticated UnknownName
"""
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]


def test_exactly_these_names_are_public() -> None:
    assert sorted(knockon.__all__) == sorted(NAMES.split())
    assert all(hasattr(knockon, name) for name in knockon.__all__)


def test_every_error_is_public() -> None:
    assert {*_subclasses(knockon.KnockonError)} <= {*knockon.__all__}


def _subclasses(error: type[Exception]) -> list[str]:
    """Return the names of the error's subclasses defined by the package itself."""
    below = [each for each in error.__subclasses__() if each.__module__ == "engine.errors"]
    return [each.__name__ for each in below] + [n for each in below for n in _subclasses(each)]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_examples_import_only_public_modules(page: Path) -> None:
    for example in re.findall(r"```python\n(.*?)```", page.read_text(), re.DOTALL):
        for node in ast.walk(ast.parse(dedent(example))):
            if isinstance(node, ast.ImportFrom):
                assert str(node.module).partition(".")[0] not in ("engine", "consumers"), page
