"""Texts for values."""

from typing import Any

import pytest

from engine.cli.render.console import to_json
from engine.cli.render.elements import mapping_text, short
from engine.service.queries.status import Status, Worker
from engine.wording import counted, some, span


@pytest.mark.parametrize(
    ("spec", "text"),
    [
        (None, ""),
        ("identity", ""),
        ("all", "all"),
        ({"dt": "dt"}, ""),
        ({"week": "dt"}, "week from dt"),
        ({"dt": {"from": "dt", "window": [-6, 0]}}, "dt [-6, 0]"),
        ({"w": {"from": "dt", "window": [0, 1]}, "o": "o"}, "w from dt [0, 1]"),
        ({"k": {"from": "origin", "map": {"a": "b"}}}, "k from origin by a map"),
    ],
)
def test_mapping_text(spec: Any, text: str) -> None:
    assert mapping_text(spec) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(-1, "0s"), (0.4, "0s"), (59, "59s"), (61, "1m"), (7200, "2h"), (172800, "2d")],
)
def test_a_span_has_one_unit(seconds: float, text: str) -> None:
    assert span(seconds) == text


def test_long_lists_and_ids_are_shortened() -> None:
    assert some("abcde", 3) == "a, b, c +2 more"
    assert some([]) == ""
    assert (counted(1, "task"), counted(1200, "task")) == ("1 task", "1,200 tasks")
    assert short("018f0000-0000-7000-8000-00001234abcd") == "1234abcd"


def test_views_become_json() -> None:
    view = Status((), {"failed": 1}, (), 0, None, 0, (), (), ())
    assert '"tasks": {\n    "failed": 1' in to_json(view)
    assert Worker.__struct_config__.frozen
