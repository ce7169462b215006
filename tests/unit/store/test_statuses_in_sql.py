"""Statements use task statuses singly, or as groups defined in Python."""

import re
from pathlib import Path

from engine.model import states

SQL = Path(__file__).parents[3] / "sql"
GROUPS = {
    frozenset(states.UNSTARTED_STATUSES),
    frozenset(states.STARTABLE_STATUSES),
    frozenset(states.PENDING_STATUSES),
    frozenset(states.UNFINISHED_STATUSES),
    frozenset(states.FINISHED_STATUSES),
    frozenset(states.TaskStatus),
}


def test_every_list_of_statuses_is_a_named_group() -> None:
    lists = [
        (path.name, found)
        for folder in ("migrations", "queries")
        for path in sorted((SQL / folder).glob("*.sql"))
        for found in re.findall(r"\bstatus (?:NOT )?IN\s*\(([^)]*)\)", path.read_text())
    ]
    assert len(lists) > 10
    unnamed = [each for each in lists if frozenset(re.findall(r"'(\w+)'", each[1])) not in GROUPS]
    assert unnamed == []


def test_defaults_of_scaling_settings_are_only_in_python() -> None:
    """A generated column reads the setting that has no default."""
    texts = "".join(path.read_text() for path in (SQL / "queries").glob("*.sql"))
    assert "scaling ->>" not in texts
