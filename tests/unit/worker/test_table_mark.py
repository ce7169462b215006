"""Marks in the comments of tables."""

from dataclasses import replace
from uuid import uuid4

import pytest

from engine.model.dataset import Dataset
from engine.model.table_mark import TableMark

DATASET = Dataset(uuid4(), uuid4(), "daily")


@pytest.mark.parametrize("retyped", [(), (2,), (1, 12)])
def test_a_mark_is_read_as_written(retyped: tuple[int, ...]) -> None:
    mark = replace(TableMark.of(DATASET, ("id",)), retyped=retyped)

    assert TableMark.read(str(mark)) == mark


def test_another_key_is_another_layout() -> None:
    layouts = {TableMark.of(DATASET, key).layout for key in ((), ("a",), ("a", "b"), ("a,b",))}

    assert len(layouts) == 4


@pytest.mark.parametrize(
    "comment", [None, "", "rows of the day", "knockon:1:2", "knockon:1:2:3:4:5", "knock:1:2:3"]
)
def test_other_comments_are_no_marks(comment: str | None) -> None:
    assert TableMark.read(comment) is None


def test_numbers_edited_by_hand_are_ignored() -> None:
    mark = TableMark.read("knockon:1:2:3:x,,7,-1")

    assert mark is not None
    assert mark.retyped == (7,)
