"""Changed jobs of a new version, and the datasets to rebuild for it."""

from engine.lineage.compile import compile_dag
from engine.lineage.compiled import CompiledDag
from engine.lineage.diff import DagDiff, diff
from engine.model.dagfile import parse_dag

# src ─┬─ amounts (reads amount) ── total (reads all of amounts)
#      ├─ labels  (reads label)
#      └─ whole   (no column lineage)
DAG = """dag: d
jobs:
  - name: src
    activation: source
    source: {kind: postgres, table: src}
    outputs: [{dataset: src, storage: {table: src}, columns: [id, amount, label]}]
  - name: amounts
    inputs: [src]
    outputs: [{dataset: amounts, columns: {amount: [src.amount]}}]
    config: {sql: SELECT amount}
  - name: labels
    inputs: [src]
    outputs:
      - {dataset: labels, columns: {label: [src.label]}}
      - {dataset: label_ids, columns: {id: [src.id]}}
    config: {sql: {labels: SELECT label, label_ids: SELECT id}}
  - name: whole
    inputs: [src]
    outputs: [{dataset: whole}]
    config: {sql: SELECT whole}
  - name: total
    inputs: [amounts]
    outputs: [{dataset: total}]
    config: {sql: SELECT total}
"""
JOBS = ("src", "amounts", "labels", "whole", "total")


def compiled(text: str) -> CompiledDag:
    return compile_dag(parse_dag(text, where="f.yaml"), {})


def changed(*replacements: tuple[str, str], base: str = DAG) -> DagDiff:
    text = base
    for old, new in replacements:
        assert text.count(old) == 1
        text = text.replace(old, new)
    # As in a deploy, where the older version comes from the database.
    return diff(CompiledDag.from_json(compiled(base).to_json()), compiled(text))


def test_without_a_previous_version_everything_is_added_and_built() -> None:
    difference = diff(None, compiled(DAG))
    assert difference.added == JOBS
    assert difference.regenerated == dict.fromkeys(
        ("src", "amounts", "labels", "label_ids", "whole", "total")
    )


def test_an_unchanged_dag_builds_nothing() -> None:
    assert changed() == DagDiff(unchanged=JOBS)


def test_a_changed_job_is_built_with_everything_downstream() -> None:
    difference = changed(("SELECT amount", "SELECT -amount"))
    assert difference.changed == {"amounts": ("config",)}
    assert difference.unchanged == ("src", "labels", "whole", "total")
    assert difference.regenerated == {"amounts": None, "total": None}


def test_a_change_without_effect_on_outputs_builds_nothing() -> None:
    difference = changed(
        ("config: {sql: SELECT whole}", "config: {sql: SELECT whole}\n    timeout: 5s")
    )
    assert difference.changed == {"whole": ("timeout_seconds",)}
    assert difference.regenerated == {}


def test_an_added_column_of_a_job_rebuilds_the_job() -> None:
    difference = changed(("{amount: [src.amount]}", "{amount: [src.amount], n: []}"))
    assert difference.changed == {"amounts": ("columns",)}
    assert difference.regenerated == {"amounts": None, "total": None}


def test_changed_column_lineage_is_reported_and_builds_nothing() -> None:
    difference = changed(("{amount: [src.amount]}", "{amount: [src.amount, src.id]}"))
    assert difference.changed == {"amounts": ("column_lineage",)}
    assert difference.regenerated == {}


def test_a_new_column_of_a_source_builds_only_possible_readers() -> None:
    difference = changed(("[id, amount, label]", "[id, amount, label, notes]"))
    assert difference.changed == {"src": ("columns",)}
    assert difference.regenerated == {"src": ("notes",), "whole": None}


def test_a_removed_column_of_a_source_builds_its_readers_and_their_other_outputs() -> None:
    difference = changed(
        ("[id, amount, label]", "[id, amount]"), ("{label: [src.label]}", "[label]")
    )
    assert difference.regenerated == {
        "src": ("label",),
        "labels": None,
        "label_ids": (),
        "whole": None,
    }


def test_a_source_in_another_table_rebuilds_everything() -> None:
    difference = changed(("storage: {table: src}", "storage: {table: src2}"))
    assert difference.changed == {"src": ("storage",)}
    assert difference.regenerated.keys() == {
        "src", "amounts", "labels", "label_ids", "whole", "total",
    }  # fmt: skip


def test_another_binding_of_a_source_builds_nothing() -> None:
    difference = changed(("{kind: postgres, table: src}", "{kind: kafka, topic: src}"))
    assert difference.changed == {"src": ("source",)}
    assert difference.regenerated == {}


def test_jobs_are_added_and_removed() -> None:
    difference = changed(
        ("- name: whole", "- name: fresh"), ("[{dataset: whole}]", "[{dataset: fresh}]")
    )
    assert (difference.added, difference.removed) == (("fresh",), ("whole",))
    assert difference.regenerated == {"fresh": None}


def test_a_dataset_moved_to_another_job_is_built() -> None:
    difference = changed(("- name: whole", "- name: fresh"))
    assert difference.regenerated == {"whole": None}


def test_changed_roles_are_reported_and_build_nothing() -> None:
    difference = changed(("{dataset: whole}", "{dataset: whole, read_roles: [staff]}"))
    assert difference.changed == {"whole": ("read_roles",)}
    assert difference.regenerated == {}


def test_the_order_of_the_file_is_irrelevant() -> None:
    head, *jobs = DAG.split("  - name: ")
    backwards = head + "".join(f"  - name: {job}" for job in reversed(jobs))
    difference = diff(compiled(DAG), compiled(backwards))
    assert difference == DagDiff(unchanged=tuple(reversed(JOBS)))
