"""Each contradiction in a DAG file is reported with its line and the remedy."""

import pytest

from engine.errors import InvalidDag
from engine.lineage.catalog import CatalogEntry
from engine.lineage.compile import compile_dag
from engine.model.dag import DagFile
from engine.model.dagfile import parse_dag

DAG = """dag: d
jobs:
  - name: src
    activation: source
    source: {kind: manual}
    outputs:
      - {dataset: src, columns: [id, y], partitioning: {dt: {time: day, end: 2014-01-01}}}
  - name: mart
    inputs:
      - {dataset: src}
    outputs:
      - {dataset: mart, columns: {x: [src.y]}, partitioning: {dt: {time: day, end: 2014-01-01}}}
    config: {sql: SELECT 1}
"""
KINDS = CatalogEntry(
    name="kinds",
    dag_name="other",
    job_name="make_kinds",
    columns=("kind",),
    inputs=(("mart", "all"),),
)

# Replacement of a text in DAG, and the start of a line in the error.
CONTRADICTIONS = [
    (
        "sql: SELECT 1",
        "sql: SELEC 1",
        "13:14: jobs[1].config.sql: it is not a SELECT: it begins with 'SELEC'; a job has one",
    ),
    (
        "{sql: SELECT 1}",
        '{sql: {mart: "WITH x AS (SELECT 1) DELETE FROM x"}}',
        "13:20: jobs[1].config.sql.mart: it is not a SELECT, but DELETE; a job has one SELECT",
    ),
    (
        "sql: SELECT 1",
        "sql: SELECT 1; SELECT 2",
        "13:14: jobs[1].config.sql: it has 2 statements; a job has one SELECT",
    ),
    (
        "sql: SELECT 1",
        "sql: -- nothing",
        "13:14: jobs[1].config.sql: it has no statement; a job has one SELECT",
    ),
    (
        "source: {kind: manual}",
        "description: a source",
        "3:5: jobs[0]: a source job needs `source:`",
    ),
    (
        "source: {kind: manual}",
        "source: {kind: manual}\n    config: {sql: SELECT 1}",
        "6:5: jobs[0].config: source jobs do not run: delete this key",
    ),
    (
        "source: {kind: manual}",
        "source: {kind: manual}\n    inputs: [mart]",
        "6:5: jobs[0].inputs: source jobs do not run: delete this key",
    ),
    (
        "partitioning: {dt: {time: day, end: 2014-01-01}}}\n  - name: mart",
        "partitioning: {dt: {every: 7m}}}\n  - name: mart",
        "7:42: jobs[0].outputs[0].partitioning: dimension 'dt': every 7m is not a step that div",
    ),
    (
        "{dataset: src, columns",
        "{dataset: src, column_lineage: openlineage, columns",
        "7:24: jobs[0].outputs[0].column_lineage: a source job has no runs to report lineage",
    ),
    (
        "{dataset: mart, columns: {x: [src.y]}",
        "{dataset: mart, column_lineage: openlineage, columns: [x]",
        "12:25: jobs[1].outputs[0].column_lineage: the column lineage comes from the SQL",
    ),
    (
        "{dataset: mart, columns: {x: [src.y]}, partitioning: {dt: {time: day, end: 2014-01-01}}}\n"
        "    config: {sql: SELECT 1}",
        "{dataset: mart, column_lineage: openlineage, columns: {x: [src.y]}}\n    operator: python",
        "12:25: jobs[1].outputs[0].column_lineage: runs report the lineage of listed columns",
    ),
    (
        "activation: source",
        "activation: manual",
        "5:5: jobs[0].source: only a source has this key: delete it, or set activation: source",
    ),
    (
        "{kind: manual}",
        "{kind: schedule, cron: 0 2 * *}",
        "5:30: jobs[0].source.cron: 4 fields instead of 5",
    ),
    (
        "{kind: manual}",
        "{kind: schedule, cron: 0 0 31 2 *}",
        "5:30: jobs[0].source.cron: Bad day-of-month",
    ),
    (
        "{kind: manual}",
        "{kind: schedule, cron: 0 2 * * *, zone: Mars/Base}",
        "5:47: jobs[0].source.zone: 'Mars/Base' is not an IANA time zone",
    ),
    (
        "{kind: manual}",
        "{kind: schedule, cron: 0 2 * * *, covers: [0, -1]}",
        "5:47: jobs[0].source.covers: the first window, 0, is after the last, -1",
    ),
    (
        "{kind: manual}",
        "{kind: schedule, cron: 0 2 * * *, covers: [-100000000, -1]}",
        "5:47: jobs[0].source.covers: windows are counted from the time of the event",
    ),
    (
        "{kind: manual}\n    outputs:\n",
        "{kind: schedule, cron: 0 2 * * *, covers: [0, 0]}\n    outputs:\n      - {dataset: two}\n",
        "5:47: jobs[0].source.covers: windows need a dataset with exactly one time dimension, "
        "unlike 'two': write covers: all",
    ),
    (
        "{kind: manual}\n    outputs:",
        "{kind: postgres, table: t}\n    outputs:\n      - {dataset: second}",
        "6:5: jobs[0].outputs: a table is a single dataset: write a source job for each",
    ),
    (
        "{kind: manual}",
        "{kind: kafka, topic: t, dataset: srk}",
        "5:37: jobs[0].source.dataset: the job has no output 'srk': name an output of the job",
    ),
    (
        "outputs:\n      - {dataset: mart,",
        "outputs:\n      - {dataset: m, partitioning: {dt: {time: day}}}\n      - {dataset: mart,",
        "14:5: jobs[1].config: sql must be a mapping with a SELECT for each of m, mart",
    ),
    (
        "inputs:\n      - {dataset: src}",
        "inputs: []",
        "8:5: jobs[1]: a reactive job needs inputs: add them, or set activation",
    ),
    (
        "config: {sql: SELECT 1}",
        "config: {sql: ' '}",
        "13:5: jobs[1].config: a job of the operator sql needs config: {sql: SELECT",
    ),
    (
        "    config: {sql: SELECT 1}\n",
        "",
        "8:5: jobs[1].config: a job of the operator sql needs config: {sql: SELECT",
    ),
    (
        "{dataset: src}",
        "{dataset: scr, as: src}",
        "10:9: jobs[1].inputs[0]: no job of these files produces the dataset 'scr'; did you mean",
    ),
    (
        "{dataset: src}",
        "src\n      - kinsd",
        "11:9: jobs[1].inputs[1]: no job of these files produces the dataset 'kinsd'; did you mean",
    ),
    (
        "{dataset: src}",
        "src\n      - {dataset: mart, as: src}",
        "11:9: jobs[1].inputs[1]: another input has the alias 'src': add a different alias",
    ),
    (
        "{dataset: src}",
        "{dataset: src, mapping: {dt: {from: day}}}",
        "10:24: jobs[1].inputs[0].mapping: from 'src' to 'mart': ",
    ),
    (
        "partitioning: {dt: {time: day, end: 2014-01-01}}}\n    config",
        "partitioning: {origin: {static: [JFK]}}}\n    config",
        "10:9: jobs[1].inputs[0].mapping: from 'src' to 'mart': ",
    ),
    (
        "{dataset: src, columns: [id, y]",
        "{dataset: src, appears: end, columns: [id, y]",
        "7:24: jobs[0].outputs[0].appears: partitions of a source exist once an event names them",
    ),
    (
        "partitioning: {dt: {time: day, end: 2014-01-01}}}\n    config",
        "appears: {after: 6h}}\n    config",
        "12:48: jobs[1].outputs[0].appears: 'mart' has no time dimension: add one, or delete",
    ),
    (
        "2014-01-01}}}\n    config",
        "2014-01-01}}}\n      - {dataset: b, appears: end,"
        " partitioning: {dt: {time: day, end: 2014-01-01}}}\n    config",
        "13:22: jobs[1].outputs[1].appears: outputs of a job appear together: write the same value",
    ),
    (
        "{dataset: src}",
        "{dataset: src, wait_for: {all_but: 1}}",
        "10:24: jobs[1].inputs[0].wait_for: no output partition has more than 1 input partitions",
    ),
    (
        "{dataset: src}",
        "{dataset: src, wait_for: 2}",
        "10:24: jobs[1].inputs[0].wait_for: no output partition has 2 input partitions of 'src'",
    ),
    (
        "{dataset: src}",
        "{dataset: src, cursor: {column: id, type: integer}}",
        "10:24: jobs[1].inputs[0].cursor: only PerUpdate jobs have a cursor",
    ),
    (
        "{dataset: src}",
        "{dataset: src, cursor: {column: idd, type: integer}}",
        "10:33: jobs[1].inputs[0].cursor.column: 'src' has no column 'idd'; did you mean 'id'?",
    ),
    (
        "config: {sql: SELECT 1}",
        "config: {sql: SELECT 1}\n    execution_strategy: PerUpdate",
        "9:5: jobs[1].inputs: a PerUpdate job follows one input, not 0: add `cursor:` to one",
    ),
    (
        "config: {sql: SELECT 1}",
        "config: {sql: SELECT 1}\n    execution_strategy: PerUpdate\n    update_strategy: replace",
        "15:5: jobs[1].update_strategy: a PerUpdate job reads only new rows: set update_strategy",
    ),
    (
        "config: {sql: SELECT 1}",
        "config: {sql: SELECT 1}\n    update_strategy: append",
        "8:5: jobs[1].unique_key: append needs unique_key: name the columns",
    ),
    (
        "config: {sql: SELECT 1}",
        "config: {sql: SELECT 1}\n    update_strategy: append\n    unique_key: [x, z]",
        "15:21: jobs[1].unique_key[1]: 'mart' has no column 'z'; it has dt, x",
    ),
    (
        "[src.y]",
        "[scr.y]",
        "12:39: jobs[1].outputs[0].columns.x[0]: the job has no input with the alias 'scr'"
        "; did you mean 'src'?",
    ),
    (
        "[src.y]",
        "[src.why]",
        "12:39: jobs[1].outputs[0].columns.x[0]: 'src' has no column 'why'; it has dt, id, y",
    ),
    (
        "outputs:\n      - {dataset: mart,",
        "outputs:\n      - {dataset: m, partitioning: {dt: {time: hour}}}\n      - {dataset: mart,",
        "13:48: jobs[1].outputs[1].partitioning: 'mart' is partitioned unlike 'm': use the same",
    ),
    (
        "partitioning: {dt: {time: day, end: 2014-01-01}}}\n    config",
        "partitioning: dialy}\n    config",
        "12:48: jobs[1].outputs[0].partitioning: partitionings has no entry 'dialy': add it",
    ),
    (
        "{time: day, end: 2014-01-01}}}\n    config",
        "{time: day, end: 2014-02-30}}}\n    config",
        "12:48: jobs[1].outputs[0].partitioning: dimension 'dt': ",
    ),
    (
        "{time: day, end: 2014-01-01}}}\n    config",
        "{time: day, zone: Mars/Base}}}\n    config",
        "12:48: jobs[1].outputs[0].partitioning: dimension 'dt': ",
    ),
    ("name: mart", "name: src", "8:5: jobs[1].name: another job has the name 'src': rename one"),
    (
        "{dataset: mart,",
        "{dataset: src,",
        "12:10: jobs[1].outputs[0].dataset: 'src' is made by job 'src' already: keep one",
    ),
    (
        "{dataset: mart,",
        "{dataset: kinds,",
        "12:10: jobs[1].outputs[0].dataset: 'kinds' is made by job 'make_kinds' of DAG 'other'",
    ),
    (
        "{dataset: src}",
        "src\n      - mart",
        "11:9: jobs[1].inputs[1]: the job reads its own output: write {dataset: self, window",
    ),
    (
        "{dataset: src}",
        "src\n      - kinds",
        "8:5: jobs[1]: datasets depend on each other, mart → kinds (DAG other) → mart: break",
    ),
]


def compile_text(text: str) -> None:
    compile_dag(parse_dag(text, where="f.yaml"), {"kinds": KINDS})


def test_the_unmodified_dag_compiles() -> None:
    compile_text(DAG)


@pytest.mark.parametrize(("right", "wrong", "line"), CONTRADICTIONS)
def test_each_contradiction_is_reported_with_its_line(right: str, wrong: str, line: str) -> None:
    assert DAG.count(right) == 1
    with pytest.raises(InvalidDag) as refused:
        compile_text(DAG.replace(right, wrong))
    found = str(refused.value).splitlines()
    assert any(each.startswith(f"f.yaml:{line}") for each in found), found


def test_a_table_cannot_be_partitioned_by_a_cron_expression() -> None:
    wrong = DAG.replace("kind: manual", "kind: postgres, table: t")
    wrong = wrong.replace("{time: day, end: 2014-01-01}", "{cron: 0 0 1 * *}")
    with pytest.raises(InvalidDag, match="triggers cannot compute the keys of 'dt' by a cron"):
        compile_dag(parse_dag(wrong, where="f"), {})


def test_a_long_cycle_is_printed_starting_in_this_file() -> None:
    text = """dag: d
jobs:
  - {name: j1, operator: shell, inputs: [far], outputs: [{dataset: a}]}
  - {name: j2, operator: shell, inputs: [a], outputs: [{dataset: b}]}
"""
    catalog = {
        "near": CatalogEntry(name="near", dag_name="n", job_name="j", inputs=(("b", "all"),)),
        "far": CatalogEntry(name="far", dag_name="f", job_name="j", inputs=(("near", "all"),)),
    }
    with pytest.raises(InvalidDag) as refused:
        compile_dag(parse_dag(text, where="f.yaml"), catalog)
    assert str(refused.value) == (
        "f.yaml:3:5: jobs[0]: datasets depend on each other, "
        "a → b → near (DAG n) → far (DAG f) → a: break the cycle"
    )


def test_all_contradictions_are_reported_together() -> None:
    text = DAG.replace("[src.y]", "[src.z]").replace("{sql: SELECT 1}", "{}")
    with pytest.raises(InvalidDag) as refused:
        compile_text(text)
    assert [line.split(":")[1] for line in str(refused.value).splitlines()] == ["12", "13"]


def test_errors_of_a_dag_without_a_file_have_a_path() -> None:
    dag = DagFile.model_validate(
        {"dag": "d", "jobs": [{"name": "j", "operator": "x", "outputs": [{"dataset": "a"}]}]}
    )
    with pytest.raises(InvalidDag, match=r"^DAG: jobs\[0\]: a reactive job needs inputs"):
        compile_dag(dag, {})
