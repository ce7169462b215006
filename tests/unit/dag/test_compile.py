"""Compilation of valid DAG files."""

from pathlib import Path
from typing import Any

import msgspec
import pytest

from engine.lineage.catalog import CatalogEntry
from engine.lineage.compile import compile_dag
from engine.lineage.compiled import CompiledColumn, CompiledDag, CompiledDataset, CompiledJob
from engine.model.dagfile import parse_dag

DAG = """
dag: d
jobs:
  - name: events
    activation: source
    source: {kind: kafka, topic: events}
    outputs:
      - dataset: events
        storage: {table: raw.events}
        partitioning: {hour: {time: hour, start: 2013-01-01T00, end: 2014-01-01T00}}
        columns: [id, at, kind, notes]
        read_roles: [staff]
  - name: daily
    runtime: external
    execution_strategy: PerUpdate
    update_strategy: append
    unique_key: [day]
    inputs:
      - {dataset: events, as: e, wait_for: 24, cursor: {column: id, type: integer},
         passes: {kind: day}}
      - {dataset: other.kinds, mapping: all}
    outputs:
      - dataset: daily
        partitioning: {day: {time: day, start: 2013-01-01, end: 2014-01-01, column: day}}
        columns: {day: [e.at], n: [], "*": [e.kind]}
      - dataset: daily_too
        partitioning: {day: {time: day, start: 2013-01-01, end: 2014-01-01}}
    config: {sql: {daily: SELECT 1, daily_too: SELECT 0}, set: {x: 1}}
    scaling: {max_concurrency: 4, partitions_per_task: 7, priority: 2}
    timeout: 10m
    heartbeat_timeout: 60s
    max_attempts: 5
    idle_timeout: 5m
"""
KINDS = CatalogEntry(name="other.kinds", dag_name="o", job_name="kinds", columns=("kind",))
CATALOG = {"other.kinds": KINDS}


def compiled(text: str = DAG) -> CompiledDag:
    return compile_dag(parse_dag(text, where="f.yaml"), CATALOG)


def job(dag: CompiledDag, name: str) -> CompiledJob:
    return next(each for each in dag.jobs if each.name == name)


def dataset(dag: CompiledDag, name: str) -> CompiledDataset:
    return next(each for each in dag.datasets if each.name == name)


def test_a_job_row_is_complete() -> None:
    found = msgspec.json.decode(msgspec.json.encode(job(compiled(), "daily")))
    assert found.pop("config_hash")
    assert found == {
        "name": "daily",
        "description": "",
        "activation": "reactive",
        "runtime": "external",
        "operator": "sql",
        "source": None,
        "execution_strategy": "PerUpdate",
        "update_strategy": "append",
        "unique_key": ["day"],
        "inputs": [
            {
                "dataset": "events",
                "alias": "e",
                "mapping": {"day": "hour"},
                "wait_for": 24,
                "cursor": {"column": "id", "type": "integer"},
                "passes": {"kind": ["day"]},
                "ignores_failure": False,
            },
            {
                "dataset": "other.kinds",
                "alias": "kinds",
                "mapping": "all",
                "wait_for": "any",
                "cursor": None,
                "passes": None,
                "ignores_failure": False,
            },
        ],
        "outputs": ["daily", "daily_too"],
        "config": {"sql": {"daily": "SELECT 1", "daily_too": "SELECT 0"}, "set": {"x": 1}},
        "scaling": {"max_concurrency": 4, "partitions_per_task": 7, "priority": 2},
        "timeout_seconds": 600,
        "heartbeat_timeout_seconds": 60,
        "max_attempts": 5,
        "version": None,
        "code": None,
        "idle_timeout": "300s",
        "accepts_reported_lineage": [],
        "appears": "start",
    }
    assert job(compiled(), "daily").waits_for_inputs
    assert job(compiled(), "daily").input_datasets == ("events", "other.kinds")


def test_a_source_job_has_its_source_and_the_operator_source() -> None:
    found = job(compiled(), "events")
    assert found.source == {"kind": "kafka", "topic": "events", "format": "knockon"}
    assert (found.operator, found.inputs, found.waits_for_inputs) == ("source", (), False)


def test_a_dataset_row_is_complete() -> None:
    dag = compiled()
    found = dataset(dag, "events")
    assert found == CompiledDataset(
        name="events",
        job="events",
        index=0,
        storage={"table": "raw.events"},
        read_roles=("staff",),
        partitioning='{"hour":{"time":"hour","start":"2013-01-01T00","end":"2014-01-01T00"}}',
        columns=("id", "at", "kind", "notes"),
        schema_hash=found.schema_hash,
        config_hash=job(dag, "events").config_hash,
    )
    assert found.schema_hash
    second = dataset(dag, "daily_too")
    assert (second.index, second.columns, second.schema_hash) == (1, None, None)


def test_column_lineage_names_datasets_and_other_inputs_are_read_entirely() -> None:
    rows = [
        (each.output_dataset, each.output_column, each.input_dataset, each.input_column)
        for each in compiled().columns
    ]
    assert rows == [
        ("daily", "*", "events", "kind"),
        ("daily", "*", "other.kinds", "*"),
        ("daily", "day", "events", "at"),
        # The other output has no lineage: SQL of an external runtime is not analyzed.
    ]


def test_one_dataset_under_two_aliases_is_one_row_of_lineage() -> None:
    text = """
dag: d
jobs:
  - {name: a, activation: source, source: {kind: manual}, outputs: [{dataset: a}]}
  - name: b
    inputs: [a, {dataset: a, as: again}]
    outputs: [{dataset: b, columns: {x: [a.y, again.y]}}]
    config: {sql: SELECT 1}
"""
    expected = CompiledColumn(
        job="b", output_dataset="b", output_column="x", input_dataset="a", input_column="y"
    )
    assert compiled(text).columns == (expected,)


def test_a_compiled_dag_reads_back_from_json() -> None:
    dag = compiled()
    assert CompiledDag.from_json(dag.to_json()) == dag
    assert CompiledDag.from_data(msgspec.json.decode(dag.to_json())) == dag


def test_the_example_compiles() -> None:
    text = Path("examples/minimal/dag.yaml").read_bytes()
    dag = compile_dag(parse_dag(text, where="dag.yaml"), {})
    assert [each.name for each in dag.datasets] == ["orders", "daily_sales"]


def test_the_previous_version_of_the_same_dag_does_not_conflict() -> None:
    own = CatalogEntry(
        name="daily", dag_name="d", job_name="daily", inputs=(("daily_too", "identity"),)
    )
    dag = parse_dag(DAG, where="f.yaml")
    assert compile_dag(dag, CATALOG | {"daily": own}) == compiled()


def config_hash(old: str = "", new: str = "") -> str:
    assert old in DAG
    return job(compiled(DAG.replace(old, new)), "daily").config_hash


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("runtime: external", "runtime: local"),
        ("max_concurrency: 4, partitions_per_task: 7, priority: 2", "priority: 3"),
        ("timeout: 10m", "timeout: 11m"),
        ("heartbeat_timeout: 60s", "heartbeat_timeout: 61s"),
        ("max_attempts: 5", "max_attempts: 6"),
        ("idle_timeout: 5m", "idle_timeout: 6m"),
        ("n: [], ", "n: [e.notes], "),
        ("wait_for: 24", "wait_for: 23"),
        ("wait_for: 24", "wait_for: {all_but: 2}"),
        ("unique_key: [day]", "unique_key: [day]\n    description: new"),
        ("- {dataset: other.kinds, mapping: all}", "- other.kinds"),
        ("- dataset: daily\n", "- dataset: daily\n        read_roles: [x]\n"),
        ("dag: d\n", "dag: d2\n"),
        ("columns: {day: [e.at], n: []", "columns: {n: [], day: [e.at]"),
        ("staff", "others"),
    ],
)
def test_settings_without_effect_on_outputs_keep_the_config_hash(old: str, new: str) -> None:
    assert config_hash(old, new) == config_hash()


@pytest.mark.parametrize(
    ("written", "compiled_to"),
    [("start", "start"), ("end", 0), ("{after: 6h}", 21_600), ("always", "always")],
)
def test_a_job_has_the_time_of_appearance_of_its_outputs(
    written: str, compiled_to: str | int
) -> None:
    text = DAG.replace("- dataset: daily", f"- appears: {written}\n        dataset: daily")
    found = job(compiled(text), "daily")
    assert found.appears == compiled_to
    assert found.config_hash == config_hash()


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("SELECT 1", "SELECT 2"),
        ("x: 1", "x: 2"),
        ("    runtime: external", "    operator: python"),
        ("    unique_key: [day]", "    unique_key: [day, n]"),
        ("as: e, ", "as: e, mapping: {day: {from: hour, window: [-1, 0]}}, "),
        ("{dataset: other.kinds, mapping: all}", "{dataset: other.kinds, as: k}"),
        ("column: id, type: integer", "column: id, type: text"),
        ("column: id,", "column: at,"),
        ("- dataset: daily\n", "- dataset: daily\n        storage: {table: t}\n"),
        ("n: [],", "m: [],"),
        ("column: day}", "column: n}"),
        ("daily_too", "daily_three"),
    ],
)
def test_settings_with_effect_on_outputs_change_the_config_hash(old: str, new: str) -> None:
    assert config_hash(old, new) != config_hash()


def test_equal_partitionings_have_equal_text() -> None:
    text: Any = DAG.replace(
        "{hour: {time: hour, start: 2013-01-01T00, end: 2014-01-01T00}}",
        "{hour: {end: '2014-01-01T00', zone: UTC, start: 2013-01-01T00, time: hour}}",
    )
    assert dataset(compiled(text), "events") == dataset(compiled(), "events")


def test_jobs_of_other_programs_need_no_operator() -> None:
    text = """
dag: d
jobs:
  - {name: a, activation: source, source: {kind: manual}, outputs: [{dataset: a}]}
  - {name: b, runtime: external, inputs: [a], outputs: [{dataset: b}], config: {depth: 3}}
  - {name: c, runtime: external, inputs: [a], outputs: [{dataset: c}], config: {sql: SELECT 1}}
"""
    dag = compiled(text)
    assert [job(dag, name).operator for name in "abc"] == ["source", "external", "sql"]
