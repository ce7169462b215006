"""The pages: generated ones are up to date, links resolve, commands and paths exist."""

import re
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import knockon
from tests.documentation import commands, links
from tests.documentation.pages import PAGES, ROOT

DOCS = ROOT / "docs"
EVERY = sorted(DOCS.rglob("*.md"))
PAGES_WITH_CODE = [ROOT / "README.md", *EVERY]


@pytest.mark.parametrize(("path", "render"), PAGES.items(), ids=PAGES)
def test_a_generated_page_is_up_to_date(path: str, render: Callable[[], str]) -> None:
    assert (ROOT / path).read_text("utf-8") == render(), "run `make reference`"


def test_links_and_anchors_resolve() -> None:
    pages = [ROOT / "README.md", ROOT / "CHANGELOG.md", *EVERY]
    assert links.problems(ROOT, pages) == []


def test_every_page_is_reachable_from_the_index() -> None:
    reached = set()
    following = {DOCS / "index.md"}
    while following:
        page = following.pop()
        reached.add(page)
        following |= (links.targets(page) & set(EVERY)) - reached
    assert set(EVERY) - reached == set()


def test_the_navigation_of_the_site_equals_the_index() -> None:
    config = tomllib.loads((ROOT / "zensical.toml").read_text("utf-8"))
    index = re.findall(r"\]\(([^)]+)\)", (DOCS / "index.md").read_text("utf-8"))
    assert [*_pages_of(config["project"]["nav"])] == ["index.md", *index]


def _pages_of(entries: list[Any]) -> Iterator[str]:
    for entry in entries:
        for page in entry.values() if isinstance(entry, dict) else [entry]:
            if isinstance(page, str):
                yield page
            else:
                yield from _pages_of(page)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("[a](b.md)", "b.md: no such file"),
        ("[a](#b)", "#b: no such heading in page.md"),
        ("[a](other.md#b)", "other.md#b: no such heading in other.md"),
        ("[a](../README.md)", "../README.md: is not part of the site"),
        ("[a][b]", "has a reference-style link: write it inline"),
    ],
)
def test_a_broken_link_is_reported(tmp_path: Path, text: str, problem: str) -> None:
    page = _page(tmp_path, text)
    assert links.problems(tmp_path, [page]) == [f"docs/page.md: {problem}"]


@pytest.mark.parametrize(
    "text",
    [
        "[a](other.md#x-y)",
        "[a](other.md#twice_1)",
        "[`code`](other.md#twice)",
        "[a](https://example.org)",
        "`[a](b.md)`",
        "```\n[a](b.md)\n```",
    ],
)
def test_a_valid_link_is_not_reported(tmp_path: Path, text: str) -> None:
    assert links.problems(tmp_path, [_page(tmp_path, text)]) == []


def _page(root: Path, text: str) -> Path:
    (root / "docs").mkdir()
    (root / "README.md").write_text("# Readme\n")
    (root / "docs" / "other.md").write_text("# `x`, y\n\n## Twice\n\n## Twice\n")
    page = root / "docs" / "page.md"
    page.write_text(f"# Page\n\n{text}\n")
    return page


@pytest.mark.parametrize("page", PAGES_WITH_CODE, ids=lambda page: page.name)
def test_every_command_exists(page: Path) -> None:
    calls = {call: [*commands.unknown_parts(call)] for call in commands.commands(page)}
    assert {call: parts for call, parts in calls.items() if parts} == {}


@pytest.mark.parametrize("page", PAGES_WITH_CODE, ids=lambda page: page.name)
def test_every_path_exists(page: Path) -> None:
    assert [path for path in commands.paths(page) if not (ROOT / path).exists()] == []


@pytest.mark.parametrize(
    ("call", "unknown"),
    [
        ("knockon statsu", ["statsu"]),
        ("knockon tasks retry --faild", ["--faild"]),
        ("knockon --json status --jsn", ["--jsn"]),
        ("knockon tasks retry --status failed --job NAME  # of a job", []),
        ("knockon deploy - < dag.yaml", []),
        ('knockon psql -c "SELECT 1"', []),
    ],
)
def test_an_unknown_command_is_reported(call: str, unknown: list[str]) -> None:
    assert [*commands.unknown_parts(call)] == unknown


def test_the_python_interface_is_documented() -> None:
    pages = [DOCS / "reference" / name for name in ("python-api.md", "errors.md")]
    words = set(re.findall(r"\w+", "".join(page.read_text("utf-8") for page in pages)))
    kinds = (knockon.Client, knockon.Context, knockon.Lease, knockon.Output, knockon.Result)
    names = {name for kind in kinds for name in dir(kind) if not name.startswith("_")}
    assert {*knockon.__all__, *names} - words == {"claim_on"}  # for the worker alone
