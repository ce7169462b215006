"""Any content of a DAG file results in a DAG or InvalidDag."""

import contextlib
import json
from pathlib import Path
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from engine.errors import InvalidDag
from engine.lineage.compile import compile_dag
from engine.model.dagfile import parse_dag
from engine.model.plainyaml import read_yaml

TEXT = Path("examples/minimal/dag.yaml").read_text("utf-8")
WORDS = st.sampled_from(
    ["orders", "daily", "dt", "identity", "all", "last", "*", "time", "day", "from", "window",
     "map", "static", "range", "dynamic", "kind", "schedule", "cron", "zone", "UTC", "sql_file",
     "0 0 31 2 *", "PerUpdate", "append", "2013-01-01", "a/b", "", "é", "10m", "orders.id"]
)  # fmt: skip
TEXTS = WORDS | st.text(max_size=12)
SCALARS = (
    WORDS | st.none() | st.booleans() | st.integers(-(1 << 63), (1 << 63) - 1) | st.floats(-9, 9)
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(WORDS, inner, max_size=3),
    max_leaves=6,
)
EXTRAS = {
    "mapping": VALUES,
    "cursor": VALUES,
    "wait_for": VALUES,
    "as": VALUES,
    "partitioning": VALUES | st.dictionaries(WORDS, VALUES, max_size=2),
    "columns": VALUES,
    "unique_key": VALUES,
    "source": VALUES | st.fixed_dictionaries(
        {"kind": st.just("schedule"), "cron": TEXTS, "zone": TEXTS}
    ),
    "scaling": VALUES,
    "config": VALUES,
    "execution_strategy": WORDS,
    "update_strategy": WORDS,
    "timeout": VALUES,
}  # fmt: skip


def answer(text: str | bytes) -> None:
    with contextlib.suppress(InvalidDag):
        compile_dag(parse_dag(text, where="f.yaml", read_file=lambda _: "SELECT 1"), {})


def containers(value: Any) -> list[Any]:
    """Every nested mapping and list."""
    inner = value.values() if isinstance(value, dict) else value
    if not isinstance(value, dict | list):
        return []
    return [value, *(container for child in inner for container in containers(child))]


@given(st.binary(max_size=200) | st.text(max_size=200))
def test_any_bytes_are_read_or_rejected(text: str | bytes) -> None:
    answer(text)


@given(st.data())
@settings(max_examples=500)
def test_any_value_anywhere_is_read_or_rejected(data: st.DataObject) -> None:
    dag, _ = read_yaml(TEXT, "f.yaml")
    for _ in range(data.draw(st.integers(1, 3))):
        container = data.draw(st.sampled_from(containers(dag)))
        if isinstance(container, list):
            container.append(data.draw(VALUES))
        else:
            key = data.draw(st.sampled_from([*container, *EXTRAS]))
            container[key] = data.draw(EXTRAS.get(key, VALUES))
    answer(json.dumps(dag, ensure_ascii=False))


@given(st.integers(0, len(TEXT)), st.integers(0, 20), st.text(max_size=5))
def test_any_edit_of_the_text_is_read_or_rejected(at: int, cut: int, put: str) -> None:
    answer(TEXT[:at] + put + TEXT[at + cut :])
