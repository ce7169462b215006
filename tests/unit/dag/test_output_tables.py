"""No job may write to the table of a source, of another dataset or of Knockon."""

import json
from typing import Any

import pytest

from engine.errors import InvalidDag
from engine.flow.deployment.current_versions import CurrentVersion, compile_among
from engine.lineage.compile import compile_dag
from engine.lineage.compiled import CompiledDag
from engine.model.dagfile import parse_dag
from engine.store.ids import new_id


def _source(dataset: str, table: str | None = None, captured: str | None = None) -> dict[str, Any]:
    source = {"kind": "postgres", "table": captured} if captured else {"kind": "manual"}
    return {
        "name": f"src_{dataset}",
        "activation": "source",
        "source": source,
        "outputs": [{"dataset": dataset} | ({"storage": {"table": table}} if table else {})],
    }


def _job(dataset: str, storage: dict[str, Any] | None = None) -> dict[str, Any]:
    return {
        "name": f"make_{dataset}",
        "inputs": ["ev"],
        "outputs": [{"dataset": dataset, "storage": storage or {}}],
        "config": {"sql": "SELECT 1 AS x FROM ev"},
    }


def _compiled(*jobs: dict[str, Any], dag: str = "d", beside: CompiledDag | None = None) -> None:
    text = json.dumps({"dag": dag, "jobs": list(jobs)})
    current = {beside.name: CurrentVersion(new_id(), beside)} if beside else {}
    compile_among(current, [parse_dag(text, where="f.yaml")])


@pytest.mark.parametrize(
    ("table", "source"),
    [
        ("raw.ev", _source("ev", "raw.ev")),
        ("ev", _source("ev")),
        ("public.ev", _source("ev")),
        ("ev", _source("ev", "public.ev")),
        ('"ev"', _source("ev", "public.ev")),
        ('public."ev"', _source("ev")),
        ("Ev", _source("ev")),
        ("PUBLIC.EV", _source("ev", "public.ev")),
        ("raw.ev", _source("ev", "copied", captured="Raw.Ev")),
        ('raw."Ev"', _source("ev", "copied", captured='raw."Ev"')),
    ],
)
def test_an_output_over_a_source_is_rejected(table: str, source: dict[str, Any]) -> None:
    with pytest.raises(InvalidDag, match=r"jobs\[1\].*holds source dataset 'ev', which the job"):
        _compiled(source, _job("clean", {"table": table}))


def test_the_error_names_the_job_even_if_it_precedes_the_source() -> None:
    with pytest.raises(InvalidDag, match=r"jobs\[0\].outputs\[0\].storage.table: table raw.ev"):
        _compiled(_job("clean", {"table": "raw.ev"}), _source("ev", "raw.ev"))


@pytest.mark.parametrize("adopt", [False, True])
def test_two_outputs_of_one_table_are_rejected(adopt: bool) -> None:
    storage = {"table": "mart.t", "adopt": adopt}
    with pytest.raises(InvalidDag, match="holds dataset 'a', which the job would overwrite"):
        _compiled(_source("ev"), _job("a", storage), _job("b", storage))


@pytest.mark.parametrize(
    "table",
    ["knockon.tasks", "knockon_source.log", "pg_catalog.pg_class", "information_schema.tables"],
)
def test_tables_of_knockon_and_of_postgresql_are_rejected(table: str) -> None:
    with pytest.raises(InvalidDag, match="belongs to Knockon or PostgreSQL"):
        _compiled(_source("ev"), _job("clean", {"table": table, "adopt": True}))


@pytest.mark.parametrize(
    ("jobs", "message"),
    [
        ((_source("ev"), _job("b", {"table": "t"})), "holds dataset 'a' of DAG 'other'"),
        ((_source("ev"), _job("b", {"table": "own"})), "holds source dataset 's' of DAG 'other'"),
        ((_source("ev", "t"),), "is written by the job of dataset 'a' of DAG 'other'"),
    ],
)
def test_tables_of_another_dag_are_rejected(jobs: tuple[dict[str, Any]], message: str) -> None:
    other = {
        "dag": "other",
        "jobs": [
            _source("s", "own"),
            {**_job("a", {"table": "t"}), "inputs": ["s"], "config": {"sql": "SELECT 1 FROM s"}},
        ],
    }
    beside = compile_dag(parse_dag(json.dumps(other), where="o.yaml"), {})
    with pytest.raises(InvalidDag, match=message):
        _compiled(*jobs, beside=beside)


@pytest.mark.parametrize(
    "jobs",
    [
        (_source("ev"), _job("clean")),
        (_source("ev", "raw.ev"), _source("again", "raw.ev")),
        (_source("ev", "raw.ev"), _job("a", {"table": "mart.ev"})),
        (_source("ev", "public.ev"), _job("a", {"table": '"Ev"'})),
        (_source("ev"), _job("a", {"path": "s3://b/a"}), _job("b", {"table": "a"})),
        (_source("ev"), _job("Sales"), _job("sales")),
    ],
)
def test_distinct_tables_are_accepted(jobs: tuple[dict[str, Any], ...]) -> None:
    _compiled(*jobs)


def test_adopt_is_a_boolean_and_not_allowed_for_sources() -> None:
    source = _source("ev")
    source["outputs"][0]["storage"] = {"adopt": True}
    with pytest.raises(
        InvalidDag, match=r"(?s)jobs do not write to sources.*must be true or false"
    ):
        _compiled(source, _job("clean", {"adopt": "yes"}))


def test_adopt_is_not_part_of_the_definition() -> None:
    def hashes(storage: dict[str, Any]) -> list[str]:
        text = json.dumps({"dag": "d", "jobs": [_source("ev"), _job("a", storage)]})
        return [job.config_hash for job in compile_dag(parse_dag(text, where="f"), {}).jobs]

    assert hashes({"table": "t"}) == hashes({"table": "t", "adopt": True})
    assert hashes({"table": "t"}) != hashes({"table": "u", "adopt": True})
