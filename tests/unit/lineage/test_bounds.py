"""Definitions without bounds, key lists and key maps, and the partitions that enter and leave."""

from typing import Any

import msgspec
import pytest

from engine.lineage.compile import compile_dag
from engine.lineage.compiled import CompiledDag
from engine.lineage.diff import DagDiff, diff
from engine.lineage.growth import entering, leaving
from engine.model.dag import DagFile
from engine.model.dagfile import parse_dag
from engine.model.dataset import grid_of

DAYS = {"dt": {"time": "day", "start": "2013-01-01", "end": "2014-01-01"}}
LONGER = {"dt": {"time": "day", "start": "2012-12-30", "end": "2015-01-01"}}


def dag(*jobs: dict[str, Any]) -> DagFile:
    return parse_dag(msgspec.json.encode({"dag": "w", "jobs": jobs}).decode(), where="w.yaml")


def compiled(source: dict[str, Any], output: dict[str, Any], **more: Any) -> CompiledDag:
    mapping = {"mapping": more.pop("mapping")} if "mapping" in more else {}
    return compile_dag(
        dag(
            {
                "name": "src",
                "activation": "source",
                "source": {"kind": "manual"},
                "outputs": [{"dataset": "a", "partitioning": source}],
            },
            {
                "name": "b",
                "operator": "python",
                "config": {"callable": "m:f"},
                "inputs": [{"dataset": "a"} | mapping],
                "outputs": [{"dataset": "b", "partitioning": output}],
            }
            | more,
        ),
        {},
    )


def keys(*names: str) -> dict[str, Any]:
    return {"o": {"static": list(names)}}


@pytest.mark.parametrize(
    ("before", "now"),
    [
        (DAYS, LONGER),
        (DAYS, {"dt": {"time": "day"}}),
        ({"n": {"range": 10, "start": 0}}, {"n": {"range": 10, "start": 5, "end": 40}}),
        ({"t": {"every": "4h"}}, {"t": {"every": "4h", "start": "2013-01-01T04"}}),
        (keys("A", "B"), keys("C", "B", "A")),
    ],
)
@pytest.mark.parametrize("grows", ["source", "output", "both"])
def test_bounds_and_lists_are_not_part_of_the_definition(
    before: dict[str, Any], now: dict[str, Any], grows: str
) -> None:
    source = before if grows == "output" else now
    output = before if grows == "source" else now
    one, other = compiled(before, before), compiled(source, output)
    assert diff(one, other).regenerated == {}
    assert one.jobs[1].config_hash == other.jobs[1].config_hash


@pytest.mark.parametrize(
    ("before", "now"),
    [
        (DAYS, {"dt": DAYS["dt"] | {"zone": "Europe/Berlin"}}),
        (DAYS, {"dt": DAYS["dt"] | {"starts_at": "06:00"}}),
        (DAYS, {"dt": DAYS["dt"] | {"column": "day"}}),
        (DAYS, {"day": DAYS["dt"]}),
        ({"n": {"range": 10}}, {"n": {"range": 20}}),
        (keys("A"), {"o": {"dynamic": True}}),
    ],
)
def test_the_grid_is_part_of_the_definition(before: dict[str, Any], now: dict[str, Any]) -> None:
    one, other = compiled(DAYS, before, mapping="all"), compiled(DAYS, now, mapping="all")
    assert diff(one, other).regenerated == {"b": None}
    assert grid_of(one.datasets[1].partitioning) != grid_of(other.datasets[1].partitioning)


def _mapped(strategy: str, **table: list[str]) -> CompiledDag:
    mapping = {"o": {"from": "o", "map": table}}
    more = {"unique_key": ["id"]} if strategy == "append" else {}
    return compiled(
        keys("A", "B"), keys("A", "B"), mapping=mapping, update_strategy=strategy, **more
    )


def test_key_maps_are_part_of_the_definition_with_append_only() -> None:
    for strategy, regenerated in (("replace", {}), ("append", {"b": None})):
        change = diff(_mapped(strategy, A=["A"]), _mapped(strategy, A=["A"], B=["B"]))
        assert change.regenerated == regenerated


def test_append_jobs_are_rebuilt_if_an_input_loses_partitions() -> None:
    append = {"update_strategy": "append", "unique_key": ["id"]}
    long, short = (compiled(grid, DAYS, **append) for grid in (LONGER, DAYS))
    assert diff(long, short).regenerated == {"b": None}
    assert diff(short, long).regenerated == {}
    elsewhere = DagDiff(shrunk=frozenset({"a"}))
    assert diff(long, long, elsewhere).regenerated == {"b": None}


def test_partitions_that_enter_and_leave_are_listed_by_dataset() -> None:
    one, other = (
        compiled(DAYS, keys("A", "B"), mapping="all"),
        compiled(LONGER, keys("C", "A"), mapping="all"),
    )
    days = ("2012-12-30..2012-12-31", "2014-01-01..2014-12-31")
    assert entering(one, other) == {"a": days, "b": ("C",)}
    assert leaving(one, other) == {"b": ("B",)}
