"""The JSON Schema used by editors to check a DAG file."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from engine.model.dag import json_schema
from engine.model.plainyaml import read_yaml

SCHEMA = json_schema()


def resolved(schema: dict[str, Any]) -> list[dict[str, Any]]:
    """The schemas applicable to a value: references followed, alternatives expanded."""
    if "$ref" in schema:
        return resolved(SCHEMA["$defs"][schema["$ref"].removeprefix("#/$defs/")])
    choices = schema.get("anyOf") or schema.get("oneOf")
    return [option for choice in choices for option in resolved(choice)] if choices else [schema]


def accepts(schema: dict[str, Any], value: Any) -> bool:
    """Subset of JSON Schema used by the file's schema: types, keys, items and vocabularies."""
    return any(_meets(option, value) for option in resolved(schema))


def _meets(schema: dict[str, Any], value: Any) -> bool:
    if value not in schema.get("enum", [value]) or value != schema.get("const", value):
        return False
    kind = schema.get("type")
    if kind == "object" and isinstance(value, dict):
        return _meets_object(schema, value)
    if kind == "array" and isinstance(value, list):
        return all(accepts(schema.get("items", {}), item) for item in value)
    scalars = {"string": str, "integer": int, "boolean": bool, "null": type(None)}
    return kind is None or (kind in scalars and type(value) is scalars[kind])


def _meets_object(schema: dict[str, Any], value: dict[str, Any]) -> bool:
    known = schema.get("properties", {})
    (free,) = schema.get("patternProperties", {"": schema.get("additionalProperties")}).values()
    if not set(schema.get("required", ())) <= value.keys():
        return False
    return all(
        accepts(known[key], member) if key in known
        else free is True or (isinstance(free, dict) and accepts(free, member))
        for key, member in value.items()
    )  # fmt: skip


def example(path: str) -> Any:
    return read_yaml(Path(path).read_bytes(), path)[0]


@pytest.mark.parametrize("path", ["examples/minimal/dag.yaml", "examples/flights/flights.yaml"])
def test_the_examples_are_accepted(path: str) -> None:
    assert accepts(SCHEMA, example(path))


@pytest.mark.parametrize(
    "spoil",
    [
        lambda dag: dag.pop("dag"),
        lambda dag: dag.update(dga="x"),
        lambda dag: dag["jobs"][1].update(operater="sql"),
        lambda dag: dag["jobs"][1].update(activation="often"),
        lambda dag: dag["jobs"][1].update(timeout=[1]),
        lambda dag: dag["jobs"][1]["inputs"].append(7),
        lambda dag: dag["jobs"][1]["outputs"][0].pop("dataset"),
        lambda dag: dag["partitionings"]["daily"]["dt"].update(time="dayly"),
        lambda dag: dag["partitionings"]["daily"]["dt"].pop("time"),
    ],
)
def test_mistakes_are_rejected(spoil: Any) -> None:
    dag = example("examples/minimal/dag.yaml")
    spoil(dag)
    assert not accepts(SCHEMA, dag)


def test_short_forms_are_accepted() -> None:
    dag = example("examples/minimal/dag.yaml")
    dag["jobs"][1] |= {"timeout": "10m", "inputs": ["orders", {"dataset": "x", "wait_for": 3}]}
    dag["jobs"][1]["outputs"][0]["columns"] = ["a"]
    dag["partitionings"]["yearly"] = {"y": {"time": "year", "start": 2013}}
    assert accepts(SCHEMA, dag)


def properties(schema: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    for model in [schema, *schema["$defs"].values()]:
        for name, spec in model.get("properties", {}).items():
            yield f"{model['title']}.{name}", spec


def test_every_key_has_a_description() -> None:
    silent = [
        name for name, spec in properties(SCHEMA)
        if not spec.get("description") and not name.endswith(".kind")
    ]  # fmt: skip
    assert not silent
