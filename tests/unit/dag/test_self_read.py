"""Inputs that are the job's own output: accepted and rejected forms."""

from typing import Any

import pytest

from engine.errors import InvalidDag
from engine.lineage.catalog import CatalogEntry
from engine.lineage.compile import compile_dag
from engine.lineage.compiled import CompiledDag, CompiledJob
from engine.lineage.diff import diff
from engine.model.dagfile import parse_dag

DAG = """dag: d
jobs:
  - name: payments
    activation: source
    source: {kind: manual}
    outputs:
      - {dataset: payments, columns: [amount], partitioning: {dt: {time: day}}}
  - name: balance
    inputs:
      - payments
      - {dataset: self, window: [-1, -1]}
    outputs:
      - {dataset: balance, partitioning: {dt: {time: day}}}
    config: {sql: SELECT s.total + p.amount AS total FROM payments p CROSS JOIN self s}
"""
SELF = "{dataset: self, window: [-1, -1]}"
SHOPS = "{dt: {time: day}, shop: {static: [a, b]}}"
EARLIER = "a job can read only earlier partitions of its own output 'balance'"


def compiled(text: str = DAG) -> CompiledDag:
    return compile_dag(parse_dag(text, where="f.yaml"), {})


def balance(dag: CompiledDag) -> CompiledJob:
    return next(job for job in dag.jobs if job.name == "balance")


def rejected(*replacements: tuple[str, str]) -> str:
    text = DAG
    for right, wrong in replacements:
        assert right in text
        text = text.replace(right, wrong)
    with pytest.raises(InvalidDag) as refused:
        compiled(text)
    return str(refused.value)


def test_self_is_the_own_output_with_a_window_in_its_only_ordered_dimension() -> None:
    _, own = balance(compiled()).inputs

    assert (own.dataset, own.alias) == ("balance", "self")
    assert own.mapping == {"dt": {"from": "dt", "window": [-1, -1]}}


@pytest.mark.parametrize(
    "form",
    [
        "{dataset: balance, as: self, window: [-1, -1]}",
        "{dataset: self, mapping: {dt: {from: dt, window: [-1, -1]}}}",
        "{dataset: balance, as: self, mapping: {dt: {window: [-1, -1]}}}",
    ],
)
def test_the_own_name_and_a_mapping_are_accepted_too(form: str) -> None:
    _, own = balance(compiled(DAG.replace(SELF, form))).inputs

    assert (own.dataset, own.alias) == ("balance", "self")


def test_the_other_dimensions_are_mapped_to_themselves() -> None:
    _, own = balance(compiled(DAG.replace("{dt: {time: day}}", SHOPS))).inputs

    assert own.mapping == {"dt": {"from": "dt", "window": [-1, -1]}, "shop": "shop"}


def test_the_columns_of_the_own_output_are_derived() -> None:
    read = [
        (column.output_column, column.input_dataset, column.input_column)
        for column in compiled().columns
    ]

    assert ("total", "balance", "total") in read
    assert ("total", "payments", "amount") in read


def test_a_changed_definition_regenerates_the_output() -> None:
    changed = compiled(DAG.replace("total + p", "total - p"))

    assert set(diff(compiled(), changed).regenerated) == {"balance"}


@pytest.mark.parametrize(
    ("replacements", "message"),
    [
        ([(SELF, "self")], "the job reads its own output: write {dataset: self, window: [-1, -1]}"),
        ([(SELF, "balance")], "write {dataset: self, window: [-1, -1]}"),
        ([("[-1, -1]", "[-1, 0]")], EARLIER),
        ([("[-1, -1]", "[1, 1]")], EARLIER),
        ([(SELF, "{dataset: self, mapping: all}")], EARLIER),
        ([(SELF, "{dataset: self, mapping: last}")], EARLIER),
        ([(SELF, "{dataset: self, mapping: identity}")], EARLIER),
        (
            [
                ("{dt: {time: day}}", SHOPS),
                (SELF, "{dataset: self, mapping: {dt: {window: [-1, -1]}}}"),
            ],
            EARLIER,
        ),
        (
            [(SELF, "{dataset: self, window: [-1, -1], mapping: all}")],
            "the input has both window and mapping",
        ),
        (
            [("{dt: {time: day}}", "{dt: {time: day}, n: {range: 10}}")],
            "'balance' does not have exactly one time or range dimension",
        ),
        (
            [("    config", "    execution_strategy: Full\n    config")],
            "a Full job builds all partitions in one run and cannot read its own output",
        ),
        (
            [("    config", "    scaling: {partitions_per_task: 2}\n    config")],
            "a task of a job that reads its own output builds one partition",
        ),
        ([("      - payments\n", "")], "the job reads nothing but its own output"),
        (
            [(SELF, "{dataset: self, window: [-1, -1], on_failure: ignore}")],
            "the partitions are built in order, after the earlier ones: delete on_failure",
        ),
        (
            [(SELF, f"{SELF}\n      - {{dataset: self, as: b, window: [-2, -2]}}")],
            "the job reads its own output twice",
        ),
        (
            [
                (
                    "partitioning: {dt: {time: day}}}\n    config",
                    "partitioning: {dt: {time: day}}}\n"
                    "      - {dataset: more, partitioning: {dt: {time: day}}}\n    config",
                )
            ],
            "a job that reads its own output has a single output",
        ),
        (
            [("- payments\n", "- {dataset: payments, window: [-1, -1]}\n")],
            "only an input that is the job's own output has this key",
        ),
        ([("dataset: balance", "dataset: self")], "'self' stands for a job's own output"),
    ],
)
def test_other_forms_are_rejected(replacements: list[tuple[str, str]], message: str) -> None:
    assert message in rejected(*replacements)


def test_a_cycle_through_another_job_is_rejected() -> None:
    text = DAG.replace(SELF, "report") + (
        "  - name: report\n    operator: shell\n"
        "    inputs: [{dataset: balance, mapping: {dt: {window: [-1, -1]}}}]\n"
        "    outputs: [{dataset: report, partitioning: {dt: {time: day}}}]\n"
        "    config: {command: 'true'}\n"
    )
    with pytest.raises(InvalidDag, match="depend on each other"):
        compiled(text)


def test_another_dag_with_such_a_job_is_no_cycle() -> None:
    own: Any = {"dt": {"from": "dt", "window": [-1, -1]}}
    entry = CatalogEntry(
        name="b", dag_name="o", job_name="b", inputs=(("b", own),), partitioning="{}"
    )

    assert compile_dag(parse_dag(DAG, where="f.yaml"), {"b": entry}).jobs
