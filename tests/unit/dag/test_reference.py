"""The examples and statements in docs/reference/dag-file.md are correct."""

import re
from pathlib import Path

import pytest

from engine.lineage.catalog import space_of
from engine.lineage.compile import compile_dag
from engine.model.dag import json_schema
from engine.model.dagfile import parse_dag

REFERENCE = Path("docs/reference/dag-file.md").read_text("utf-8")


def test_the_first_example_compiles() -> None:
    example = re.findall(r"```yaml\n(.*?)```", REFERENCE, re.DOTALL)[0]
    dag = compile_dag(parse_dag(example, where="docs"), {})
    assert [job.name for job in dag.jobs] == ["orders", "daily_sales"]


def test_the_reference_names_every_key() -> None:
    models = [json_schema(), *json_schema()["$defs"].values()]
    keys = {key for model in models for key in model.get("properties", {})}
    words = set(re.findall(r"\w+", REFERENCE))
    assert keys <= words


@pytest.mark.parametrize(
    ("grain", "key"),
    [
        ("hour", "2013-02-13T05"),
        ("day", "2013-02-13"),
        ("week", "2013-W07"),
        ("month", "2013-02"),
        ("quarter", "2013-Q1"),
        ("year", "2013"),
    ],
)
def test_documented_time_keys_are_valid(grain: str, key: str) -> None:
    assert f"`{key}`" in REFERENCE
    compile_dag(parse_dag(_with(f"{{t: {{time: {grain}, start: '{key}'}}}}"), where="f"), {})


@pytest.mark.parametrize(
    "mapping",
    [
        "{day: hour}",
        "{dt: {from: dt, window: [-6, 0]}}",
        "{region: {from: origin, map: {JFK: east, SFO: [west, pacific]}}}",
        "{dt: all}",
        "{dt: last}",
        "{dt: {from: hour, window: [-2, 0], unit: input}}",
        "{dt: {from: updated, last: true}}",
        "{version: last}",
    ],
)
def test_documented_mappings_are_valid(mapping: str) -> None:
    assert f"| `{mapping.removeprefix('{').removesuffix('}')}` |" in REFERENCE
    source = "{hour: {time: hour}}" if "hour" in mapping else "{dt: {time: day}}"
    if "updated" in mapping or "version" in mapping:
        source = "{updated: {time: day}, version: {static: [v1, v2]}}"
    if "origin" in mapping:
        source = "{origin: {static: [JFK, SFO]}}"
    target = "{day: {time: day}, dt: {time: day}, region: {static: [east, west, pacific]}}"
    text = (
        _with(source)
        + f"""
  - name: b
    operator: shell
    inputs: [{{dataset: a, mapping: {mapping}}}]
    outputs: [{{dataset: b, partitioning: {target}}}]
"""
    )
    compile_dag(parse_dag(text, where="f"), {})


def test_the_forms_of_partitions_by_time_have_the_documented_keys() -> None:
    page = Path("docs/how-to/choose-partitions-by-time.md").read_text("utf-8")
    (example,) = re.findall(r"```yaml\n(.*?)```", page, re.DOTALL)
    compile_dag(parse_dag(example, where="docs"), {})
    rows = re.findall(r"\| `(dt: \{.*?\})` \| `(.*?)`", page)
    assert len(rows) == 8
    for dimension, key in rows:
        dag = compile_dag(parse_dag(_with(f"{{{dimension}}}"), where="docs"), {})
        (dataset,) = dag.datasets
        assert space_of(dataset.partitioning).values(key)["dt"].key == key


def _with(partitioning: str) -> str:
    return f"""dag: d
jobs:
  - name: a
    activation: source
    source: {{kind: manual}}
    outputs: [{{dataset: a, partitioning: {partitioning}}}]
"""
