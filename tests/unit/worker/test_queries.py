"""Valid values in the config of the sql operator."""

from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import pytest

from engine.errors import InvalidInput
from engine.model.dataset import Dataset
from engine.model.job import Job
from engine.model.task import Lease
from engine.worker.operators.sql.queries import queries_of

ID = UUID(int=1)


def _lease(sql: Any, *outputs: str) -> Lease:
    return Lease(
        task_id=ID,
        token=ID,
        job=Job(ID, "j", "d", "reactive", "PerPartition", (), (ID,), config={"sql": sql}),
        block_key="*",
        partitions=("*",),
        attempt=1,
        expires_at=datetime(2026, 1, 1, tzinfo=UTC),
        worker_id="w",
        outputs=tuple(Dataset(ID, ID, name) for name in outputs),
    )


@pytest.mark.parametrize(
    ("said", "runs"),
    [
        ("SELECT 1", "SELECT 1"),
        ("SELECT 1 ;\n;  ", "SELECT 1"),
        ("SELECT 1; -- the end", "SELECT 1"),
        ("SELECT 1 -- the end", "SELECT 1"),
        ("SELECT 1;\n-- one\n-- two\n", "SELECT 1"),
        ("SELECT ';' -- it", "SELECT ';'"),
        ("SELECT 'a; -- b'", "SELECT 'a; -- b'"),
        ('SELECT 1 AS "a; -- b"', 'SELECT 1 AS "a; -- b"'),
        ("SELECT $$ ; -- b $$", "SELECT $$ ; -- b $$"),
        ("SELECT 1 /* a; -- b */", "SELECT 1 /* a; -- b */"),
    ],
)
def test_only_text_after_the_statement_is_removed(said: str, runs: str) -> None:
    assert queries_of(_lease(said, "out")) == {"out": runs}


def test_several_outputs_have_a_select_each() -> None:
    said = {"a": "SELECT 1", "b": "SELECT 2"}
    assert queries_of(_lease(said, "a", "b")) == said


@pytest.mark.parametrize(
    "said", [None, "", "  ", 7, "SELECT '\0'", {}, {"a": "SELECT 1"}, {"a": "SELECT 1", "b": None}]
)
def test_any_other_config_is_rejected(said: Any) -> None:
    with pytest.raises(InvalidInput, match=r"config\.sql"):
        queries_of(_lease(said, "a", "b") if not isinstance(said, str) else _lease(said, "a"))
