"""Statements loaded from files."""

import re
from pathlib import Path

import pytest

from engine.errors import InvalidInput, UnknownName
from engine.store.queries import load_queries, query, sql_dir

_FILE = """-- About tasks.

-- :name claim
-- Takes 100% of them.
SELECT %(org_id)s;

-- :name count
-- Counts them.
SELECT count(*) -- all
FROM tasks
"""


def test_statements_are_named_after_file_and_line(tmp_path: Path) -> None:
    (tmp_path / "tasks.sql").write_text(_FILE)
    assert load_queries(tmp_path) == {
        "tasks.claim": "/* tasks.claim */ SELECT %(org_id)s",
        "tasks.count": "/* tasks.count */ SELECT count(*) -- all\nFROM tasks",
    }


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("-- :name a\nSELECT 1;\n-- :name a\nSELECT 2;", "tasks.a is twice"),
        ("SELECT 1;\n-- :name a\nSELECT 2;", "SQL before the first"),
        ("-- :name a\n-- Says nothing.\n", "tasks.a .* is empty"),
    ],
)
def test_an_invalid_file_is_rejected(tmp_path: Path, text: str, complaint: str) -> None:
    (tmp_path / "tasks.sql").write_text(text)
    with pytest.raises(InvalidInput, match=complaint):
        load_queries(tmp_path)


def test_an_unknown_name_is_rejected_with_the_file_to_add_it() -> None:
    with pytest.raises(UnknownName, match=r"no statement 'no\.such'"):
        query("no.such")


def test_every_statement_of_the_project_loads_and_has_a_description() -> None:
    directory = sql_dir() / "queries"
    for name in load_queries(directory):
        assert query(name).startswith(f"/* {name} */")
    for path in directory.glob("*.sql"):
        for name, after in re.findall(r"^-- :name (\w+)\n(.*)", path.read_text(), re.MULTILINE):
            assert after.startswith("-- "), f"{path.name}: {name} lacks a comment"
