"""Column lineage from a DAG's SQL, in addition to the declarations in its file."""

import json
from typing import Any

import pytest

from engine.errors import InvalidDag
from engine.lineage.catalog import CatalogEntry
from engine.lineage.compile import compile_dag
from engine.lineage.compiled import CompiledDag
from engine.lineage.diff import diff
from engine.model.dagfile import parse_dag

Spec = dict[str, Any]
DAYS = {"dt": {"time": "day", "zone": "UTC", "column": "at"}}
OTHER = CatalogEntry(name="far", dag_name="o", job_name="far", columns=("p", "q"))


def source(columns: list[str] | None = None, partitioning: Spec | None = None) -> Spec:
    output: Spec = {"dataset": "src", "partitioning": partitioning or {}}
    output |= {} if columns is None else {"columns": columns}
    return {
        "name": "src",
        "activation": "source",
        "source": {"kind": "manual"},
        "outputs": [output],
    }


def sql(name: str, text: str | Spec, *inputs: Any, **output: Any) -> Spec:
    more = {key: output.pop(key) for key in ("update_strategy", "unique_key") if key in output}
    outputs = list(text) if isinstance(text, dict) else [name]
    return {
        "name": name,
        "inputs": list(inputs),
        "outputs": [{"dataset": each, **output} for each in outputs],
        "config": {"sql": text},
    } | more


def compiled(*jobs: Spec, **catalog: CatalogEntry) -> CompiledDag:
    dag = parse_dag(json.dumps({"dag": "d", "jobs": jobs}), where="d.yaml")
    return compile_dag(dag, {"far": OTHER} | catalog)


def lineage(dag: CompiledDag, dataset: str) -> dict[str, set[str]]:
    found: dict[str, set[str]] = {}
    for row in dag.columns:
        if row.output_dataset == dataset:
            read = f"{row.input_dataset}.{row.input_column}"
            found.setdefault(row.output_column, set()).add(read)
    return found


def columns(dag: CompiledDag, dataset: str) -> tuple[str, ...] | None:
    (found,) = (each.columns for each in dag.datasets if each.name == dataset)
    return found


def test_derived_columns_reach_downstream_jobs_in_any_file_order() -> None:
    dag = compiled(
        sql("last", "SELECT * FROM middle", "middle"),
        sql("middle", "SELECT a, sum(b) AS n FROM src GROUP BY a", "src"),
        source(["a", "b", "notes"]),
    )
    assert columns(dag, "last") == ("a", "n")
    assert lineage(dag, "last") == {"a": {"middle.a"}, "n": {"middle.n"}}
    assert lineage(dag, "middle") == {"a": {"src.a"}, "n": {"src.b"}, "*": {"src.a"}}


def test_datasets_of_other_dags_come_from_the_catalog() -> None:
    dag = compiled(sql("here", "SELECT * FROM far", "far"))
    assert columns(dag, "here") == ("p", "q")


def test_columns_that_select_rows_affect_all_and_the_partition_is_added() -> None:
    dag = compiled(
        source(["at", "a"], DAYS),
        sql("made", "SELECT a FROM src", "src", partitioning={"day": {"time": "day"}}),
    )
    assert columns(dag, "made") == ("a", "day")
    assert lineage(dag, "made") == {"a": {"src.a"}, "*": {"src.at", "src.dt"}}


def test_merge_keys_and_cursors_affect_all_columns() -> None:
    follow = {"dataset": "src", "cursor": {"column": "id", "type": "integer"}}
    job = sql("made", "SELECT k + 1 AS k, a FROM src", follow)
    job |= {
        "execution_strategy": "PerUpdate",
        "update_strategy": "append",
        "unique_key": ["k"],
    }
    dag = compiled(source(["id", "k", "a"]), job)
    assert lineage(dag, "made") == {"k": {"src.k"}, "a": {"src.a"}, "*": {"src.id", "src.k"}}


def test_columns_that_determine_the_partition_affect_all() -> None:
    by_shop = {"shop": {"dynamic": True}}
    job = sql("made", "SELECT upper(b) AS shop, a FROM src", "src", partitioning=by_shop)
    dag = compiled(source(["a", "b"]), job | {"execution_strategy": "Full"})
    assert lineage(dag, "made") == {"shop": {"src.b"}, "a": {"src.a"}, "*": {"src.b"}}


def test_declared_lineage_takes_precedence_and_a_list_keeps_its_names() -> None:
    dag = compiled(
        source(["a", "b"]),
        sql("said", "SELECT a, b FROM src", "src", columns={"a": ["src.a"]}),
        sql("named", "SELECT a, b FROM src", "src", columns=["b", "a"]),
    )
    assert (columns(dag, "said"), lineage(dag, "said")) == (("a",), {"a": {"src.a"}})
    assert columns(dag, "named") == ("b", "a")
    assert lineage(dag, "named") == {
        "a": {"src.a"},
        "b": {"src.b"},
    }


def test_an_input_absent_from_every_select_is_read_entirely() -> None:
    dag = compiled(
        source(["a", "b"]),
        sql("job", {"one": "SELECT a FROM src", "two": "SELECT p FROM far"}, "src", "far"),
        sql("set_off", "SELECT a FROM src", "src", "far"),
    )
    assert lineage(dag, "one") == {"a": {"src.a"}, "*": {"far."}}
    assert lineage(dag, "two") == {"p": {"far.p"}, "*": {"src."}}
    assert lineage(dag, "set_off") == {"a": {"src.a"}, "*": {"far.*"}}


def test_underivable_lineage_is_noted_and_counts_as_reading_everything() -> None:
    dag = compiled(source(), sql("odd", "SELECT a FROM src, nowhere", "src"))
    assert (columns(dag, "odd"), lineage(dag, "odd")) == (None, {})
    (note,) = dag.notes
    assert (note.job, note.dataset) == ("odd", "odd")
    assert "it reads nowhere, which is none of the job's inputs" in note.text
    assert CompiledDag.from_json(dag.to_json()) == dag


def test_notes_have_the_line_in_the_file() -> None:
    literal = """dag: d
jobs:
  - name: src
    activation: source
    source: {kind: manual}
    outputs: [{dataset: src}]
  - name: odd
    inputs: [src]
    outputs: [{dataset: odd}]
    config:
      sql: |
        SELECT a
        FROM src
        WHERE a SOUNDS 1
"""
    plain = literal.replace("|\n        ", "").replace("\n        ", " ")
    for text, line in ((literal, 14), (plain, 11)):
        (note,) = compile_dag(parse_dag(text, where="f.yaml"), {}).notes
        assert str(note).startswith(f"f.yaml:{line}: odd: its columns cannot be derived")


@pytest.mark.parametrize("select", ["VALUES (1)", "TABLE src", "((SELECT 1))", "SELECT 1; -- end"])
def test_other_queries_are_accepted(select: str) -> None:
    compiled(source(["a"]), sql("made", select, "src"))


@pytest.mark.parametrize("operator", ["python", "shell"])
def test_other_operators_have_no_sql(operator: str) -> None:
    dag = compiled(source(["a"]), sql("made", "SELECT a FROM src", "src") | {"operator": operator})
    assert (columns(dag, "made"), lineage(dag, "made"), dag.notes) == (None, {}, ())


def test_derived_names_are_checked_like_declared_ones() -> None:
    follower = sql("last", "SELECT n FROM middle", "middle", columns={"n": ["middle.m"]})
    with pytest.raises(InvalidDag, match="'middle' has no column 'm'; it has n"):
        compiled(source(["a"]), sql("middle", "SELECT a AS n FROM src", "src"), follower)


def test_derived_names_are_not_config_but_a_new_one_creates_a_version() -> None:
    star = sql("here", "SELECT * FROM far", "far")
    grown = CatalogEntry(name="far", dag_name="o", job_name="far", columns=("p", "q", "r"))
    before, after = compiled(star), compiled(star, far=grown)
    assert columns(after, "here") == ("p", "q", "r")
    (old,), (new,) = before.datasets, after.datasets
    assert (old.config_hash, old.schema_hash) == (new.config_hash, new.schema_hash)
    assert before.content_hash != after.content_hash
    assert before.content_hash == compiled(star).content_hash
    assert diff(before, after).regenerated == {"here": ("r",)}


def test_names_derived_later_make_nothing_stale() -> None:
    star = sql("here", "SELECT * FROM far", "far")
    unknown = compiled(star, far=CatalogEntry(name="far", dag_name="o", job_name="far"))
    assert columns(unknown, "here") is None
    assert diff(unknown, compiled(star)).regenerated == {}
    assert diff(unknown, compiled(star)).changed == {
        "here": ("inputs", "columns", "column_lineage")
    }


def test_a_new_column_of_a_source_rebuilds_readers_of_all_columns() -> None:
    star, sums = sql("star", "SELECT * FROM src", "src"), sql("n", "SELECT a FROM src", "src")
    before = compiled(source(["a"]), star, sums)
    after = compiled(source(["a", "b"]), star, sums)
    assert diff(before, after).regenerated == {"src": ("b",), "star": ("b",)}


def test_a_cycle_is_reported_once() -> None:
    with pytest.raises(InvalidDag, match="datasets depend on each other"):
        compiled(sql("a", "SELECT x FROM b", "b"), sql("b", "SELECT x FROM a", "a"))


def test_columns_preserved_by_a_select_are_stored_on_its_input() -> None:
    dag = compiled(
        source(["a", "b"]), sql("made", "SELECT a AS k, max(b) FROM src GROUP BY a", "src")
    )
    (read,) = dag.jobs[1].inputs
    assert read.preserved_columns == {"a": ("k",)}


def test_a_column_in_parentheses_is_preserved() -> None:
    text = "SELECT (a) AS k, max(b) FROM src GROUP BY (a)"
    dag = compiled(source(["a", "b"]), sql("made", text, "src"))
    (read,) = dag.jobs[1].inputs
    assert read.preserved_columns == {"a": ("k",)}


def test_a_column_not_preserved_by_every_output_is_not_preserved() -> None:
    both = sql("one", {"one": "SELECT a, b FROM src", "two": "SELECT a FROM src"}, "src")
    (read,) = compiled(source(["a", "b"]), both).jobs[1].inputs
    assert read.preserved_columns == {"a": ("a",)}


def test_declared_preserved_columns_take_precedence() -> None:
    said = sql("made", "SELECT a, b FROM src", {"dataset": "src", "passes": {"a": "b"}})
    (read,) = compiled(source(["a", "b"]), said).jobs[1].inputs
    assert read.preserved_columns == {"a": ("b",)}


def test_a_declared_preserved_column_must_exist() -> None:
    said = sql("made", "SELECT a FROM src", {"dataset": "src", "passes": {"a": "b"}})
    with pytest.raises(InvalidDag, match="'made' has no column 'b'"):
        compiled(source(["a"]), said)


def test_sql_of_another_runtime_is_not_analyzed() -> None:
    """The dialect may differ, with another meaning of ``GROUP BY ALL`` or ``"a"``."""
    elsewhere = sql("made", "SELECT a, count(*) AS n FROM src GROUP BY a", "src")
    dag = compiled(source(["a", "b"]), elsewhere | {"runtime": "external"})
    assert (lineage(dag, "made"), columns(dag, "made")) == ({}, None)
    (note,) = dag.notes
    assert (note.dataset, note.text.partition(":")[0]) == ("made", "its columns are not derived")
    assert "runtime 'external'" in note.text
    (read,) = dag.jobs[1].inputs
    assert read.preserved_columns is None


def test_an_unsupported_select_preserves_no_columns() -> None:
    """The function may read any rows, so results can differ for unchanged rows."""
    dag = compiled(source(["a", "b"]), sql("made", "SELECT a, mine(b) AS m FROM src", "src"))
    (read,) = dag.jobs[1].inputs
    assert (read.preserved_columns, lineage(dag, "made")) == (None, {})
