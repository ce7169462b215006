"""Reading a DAG file: all forms, and every mistake with its line, path and correction."""

from pathlib import Path

import pytest

from engine.errors import InvalidDag
from engine.model.dag import DagFile
from engine.model.dagfile import parse_dag

JOB = """dag: d
jobs:
  - name: j
    inputs: [a]
    outputs: [{dataset: b}]
    config: {sql: SELECT 1}
"""


def parse(text: str) -> DagFile:
    return parse_dag(text, where="f.yaml")


def refusal(text: str) -> list[str]:
    with pytest.raises(InvalidDag) as refused:
        parse(text)
    return str(refused.value).splitlines()


def test_short_forms_and_long_forms_are_equal_values() -> None:
    short = parse(JOB.replace("[a]", "[x.a]") + "    timeout: 2m\n")
    long = parse(JOB.replace("[a]", "[{dataset: x.a, as: a}]") + "    timeout: 120\n")
    assert short == long
    assert short.jobs[0].inputs[0].alias == "a"
    assert short.jobs[0].timeout == 120


@pytest.mark.parametrize(
    ("written", "seconds"), [("90s", 90), ("10m", 600), ("2h", 7200), ("1d", 86400), ("5", 5)]
)
def test_durations(written: str, seconds: int) -> None:
    assert parse(JOB + f"    heartbeat_timeout: {written}\n").jobs[0].heartbeat_timeout == seconds


def test_columns_as_a_list_have_no_lineage() -> None:
    output = parse(JOB.replace("{dataset: b}", "{dataset: b, columns: [x, no]}")).jobs[0].outputs[0]
    assert (output.column_names, output.lineage) == (("x", "no"), None)


def test_columns_as_a_mapping_have_lineage() -> None:
    spec = '{dataset: b, columns: {x: [a.y], n: [], "*": [a.z]}}'
    output = parse(JOB.replace("{dataset: b}", spec)).jobs[0].outputs[0]
    assert output.column_names == ("x", "n")
    assert output.lineage == {"x": ("a.y",), "n": (), "*": ("a.z",)}


def test_unquoted_dates_years_and_numbers_are_keys() -> None:
    spec = (
        "{dataset: b, partitioning: {d: {time: day, start: 2013-01-01, end: 2014-01-01}, "
        "y: {time: year, start: 2013}, s: {static: [1, no]}}}"
    )
    dag = parse(JOB.replace("{dataset: b}", spec))
    dimensions = dag.dimensions(dag.jobs[0].outputs[0])
    found = {name: each.model_dump(exclude_defaults=True) for name, each in dimensions.items()}
    assert found == {
        "d": {"time": "day", "start": "2013-01-01", "end": "2014-01-01"},
        "y": {"time": "year", "start": "2013"},
        "s": {"static": ("1", "no")},
    }


def test_a_shared_partitioning_is_resolved_by_name() -> None:
    text = JOB.replace("{dataset: b}", "{dataset: b, partitioning: daily}")
    dag = parse(text + "partitionings: {daily: {dt: {time: day}}}\n")
    assert dag.dimensions(dag.jobs[0].outputs[0]).keys() == {"dt"}


# Each case: replacement of a text in JOB, and the expected line of the error.
MISTAKES = [
    (
        "{dataset: b}",
        "{dataset: b, partitioning: {dt: {every: 15}}}",
        "5:48: jobs[0].outputs[0].partitioning.dt.every: '15' is not a number of minutes or hours: "
        "write one like 15m or 4h",
    ),
    (
        "{dataset: b}",
        "{dataset: b, partitioning: {dt: {time: day, starts_at: 6:00}}}",
        "5:59: jobs[0].outputs[0].partitioning.dt.starts_at: '6:00' is not a time of day: write",
    ),
    (
        "{dataset: b}",
        "{dataset: b, partitioning: {dt: {time: week, starts_on: sun}}}",
        "5:60: jobs[0].outputs[0].partitioning.dt.starts_on: 'sun' is not one of monday, tuesday, ",
    ),
    ("dag: d", "dag: 1d", "1:1: dag: '1d' is not a name: a letter or _, then"),
    ("dag: d\n", "", "1:1: dag: this key is required: add it"),
    ("name: j", "name: 1", "3:5: jobs[0].name: this must be text: quote it"),
    ("name: j", f"name: {'j' * 129}", "3:5: jobs[0].name: String should have at most 128"),
    ("inputs:", "inptus:", "4:5: jobs[0].inptus: there is no such key; did you mean 'inputs'?"),
    (
        "outputs: [{dataset: b}]",
        "outputs: []",
        "5:5: jobs[0].outputs: at least one is required: add it",
    ),
    ("[{dataset: b}]", "{dataset: b}", "5:5: jobs[0].outputs: this must be a list"),
    (
        "{dataset: b}",
        "{dataset: b, table: t}",
        "5:28: jobs[0].outputs[0].table: there is no such key; known are appears, column_lineage,",
    ),
    ("{dataset: b}", "{datset: b}", "5:15: jobs[0].outputs[0].dataset: this key is required"),
    (
        "{dataset: b}",
        "{datset: b}",
        "5:16: jobs[0].outputs[0].datset: there is no such key; did you mean 'dataset'?",
    ),
    (
        "{dataset: b}",
        "{dataset: b, columns: [x, x]}",
        "5:28: jobs[0].outputs[0].columns: columns are distinct names",
    ),
    (
        "{dataset: b}",
        "{dataset: b, columns: {x: }}",
        "5:28: jobs[0].outputs[0].columns: columns are a list of names, or",
    ),
    (
        "{dataset: b}",
        "{dataset: b, columns: {x: [y]}}",
        "5:42: jobs[0].outputs[0].columns.x[0]: 'y' is not an input column: write alias.column",
    ),
    (
        "{dataset: b}",
        "{dataset: b, partitioning: {dt: {time: dayly}}}",
        "5:48: jobs[0].outputs[0].partitioning.dt.time: 'dayly' is not one of hour, day, week, "
        "month, quarter, year; did you mean 'day'?",
    ),
    (
        "{dataset: b}",
        "{dataset: b, partitioning: {dt: {time: day, strat: 2013-01-01}}}",
        "5:59: jobs[0].outputs[0].partitioning.dt.strat: there is no such key; did you mean 'st",
    ),
    (
        "{dataset: b}",
        "{dataset: b, partitioning: {dt: {grain: day}}}",
        "5:43: jobs[0].outputs[0].partitioning.dt: a dimension is a mapping with one of time,",
    ),
    (
        "{dataset: b}",
        "{dataset: b, partitioning: [dt]}",
        "5:28: jobs[0].outputs[0].partitioning: this is the name of a partitioning, or",
    ),
    (
        "[a]",
        "[a.1]",
        "4:14: jobs[0].inputs[0]: '1' is not an SQL identifier: add an alias with `as:`",
    ),
    ("[a]", "[{dataset: a, as: a-b}]", "4:27: jobs[0].inputs[0].as: 'a-b' is not an SQL identi"),
    ("[a]", "[[a]]", "4:14: jobs[0].inputs[0]: an input is the name of a dataset, or a mapping"),
    (
        "[a]",
        "[{dataset: a, wait_for: 0}]",
        "4:27: jobs[0].inputs[0].wait_for: 0 is not valid for wait_for: write any, all, a number",
    ),
    (
        "[a]",
        "[{dataset: a, wait_for: al}]",
        "4:27: jobs[0].inputs[0].wait_for: 'al' is not valid for wait_for: write any, all",
    ),
    (
        "dataset: b",
        "dataset: b, appears: later",
        "5:28: jobs[0].outputs[0].appears: 'later' is not one of start, end, always",
    ),
    (
        "dataset: b",
        "dataset: b, appears: 6h",
        "5:28: jobs[0].outputs[0].appears: '6h' is not one of start, end, always",
    ),
    (
        "[a]",
        "[{dataset: a, wait_for: {all_but: 0}}]",
        "4:27: jobs[0].inputs[0].wait_for: {'all_but': 0} is not valid for wait_for: write any",
    ),
    (
        "[a]",
        "[{dataset: a, mapping: 3}]",
        "4:27: jobs[0].inputs[0].mapping: this is the name of a mapping, or",
    ),
    (
        "[a]",
        "[{dataset: a, cursor: {column: id, type: number}}]",
        "4:48: jobs[0].inputs[0].cursor.type: 'number' is not one of integer, timestamp, text",
    ),
    ("config: {sql: SELECT 1}", "config: SELECT 1", "6:5: jobs[0].config: this must be a mapping"),
    (
        "config: {sql: SELECT 1}",
        "execution_strategy: perpartition",
        "6:5: jobs[0].execution_strategy: 'perpartition' is not one of PerPartition, PerUpdate, "
        "Full; did you mean 'PerPartition'?",
    ),
    (
        "config: {sql: SELECT 1}",
        "source: {kind: kafak, topic: t}",
        "6:5: jobs[0].source: the kind 'kafak' is not one of 'kafka', 'http', 'postgres', 'man",
    ),
    (
        "config: {sql: SELECT 1}",
        "source: {topic: t}",
        "6:5: jobs[0].source: the key kind is required: add it",
    ),
    (
        "config: {sql: SELECT 1}",
        "source: {kind: postgres, tabel: t}",
        "6:30: jobs[0].source.tabel: there is no such key; did you mean 'table'?",
    ),
    (
        "config: {sql: SELECT 1}",
        "scaling: {priorty: 1}",
        "6:15: jobs[0].scaling.priorty: there is no such key; did you mean 'priority'?",
    ),
    (
        "config: {sql: SELECT 1}",
        "timeout: 5 minutes",
        "6:5: jobs[0].timeout: '5 minutes' is not a duration: write seconds, or 90s, 10m, 2h, 1d",
    ),
    (
        "config: {sql: SELECT 1}",
        "timeout: 0",
        "6:5: jobs[0].timeout: Input should be greater than 0",
    ),
    (
        "config: {sql: SELECT 1}",
        "max_attempts: true",
        "6:5: jobs[0].max_attempts: Input should be a valid integer",
    ),
    (
        "config: {sql: SELECT 1}",
        "config: {sql_file: x.sql}",
        "6:14: jobs[0].config.sql_file: files cannot be read from here: put the text under sql",
    ),
]


@pytest.mark.parametrize(("right", "wrong", "line"), MISTAKES)
def test_each_mistake_is_reported_with_its_line(right: str, wrong: str, line: str) -> None:
    assert JOB.count(right) == 1
    found = refusal(JOB.replace(right, wrong))
    assert any(each.startswith(f"f.yaml:{line}") for each in found), found


def test_all_mistakes_are_reported_in_the_order_of_the_file() -> None:
    text = JOB.replace("dag: d", "dag: 1").replace("[a]", "[a.1]").replace("{dataset: b}", "{}")
    assert [line.split(": ")[:2] for line in refusal(text)] == [
        ["f.yaml:1:1", "dag"],
        ["f.yaml:4:14", "jobs[0].inputs[0]"],
        ["f.yaml:5:15", "jobs[0].outputs[0].dataset"],
    ]


def test_thousands_of_mistakes_are_summarized() -> None:
    found = refusal("dag: d\njobs:\n" + "- {}\n" * 5_000)
    assert (len(found), found[-1]) == (101, "and 9900 more")


def test_a_long_value_is_shortened_in_the_message() -> None:
    found = refusal(JOB.replace("name: j", f"name: '{'!' * 100_000}'"))
    assert max(map(len, found)) < 300


@pytest.mark.parametrize("text", ["", "- a\n", "just text"])
def test_a_document_that_is_not_a_mapping_is_rejected(text: str) -> None:
    (line,) = refusal(text)
    assert line.endswith("a DAG file is a mapping with the keys dag and jobs")


WITH_FILE = JOB.replace("{sql: SELECT 1}", "{sql_file: sql/x.sql}")


def test_a_sql_file_is_part_of_the_content() -> None:
    files = {"sql/x.sql": "SELECT 1"}
    dag = parse_dag(WITH_FILE, where="f.yaml", read_file=files.__getitem__)
    assert dag.jobs[0].config == {"sql": "SELECT 1"}
    assert dag.content_hash() == parse(JOB).content_hash()


def test_each_output_may_have_a_sql_file() -> None:
    text = WITH_FILE.replace("sql/x.sql", "{b: x.sql, c: y.sql}")
    dag = parse_dag(text, where="f.yaml", read_file=str.upper)
    assert dag.jobs[0].config == {"sql": {"b": "X.SQL", "c": "Y.SQL"}}


def test_a_missing_sql_file_is_reported_with_its_line(tmp_path: Path) -> None:
    with pytest.raises(InvalidDag, match=r"^f.yaml:6:14: jobs\[0\].config.sql_file: .*No such"):
        parse_dag(
            WITH_FILE, where="f.yaml", read_file=lambda name: (tmp_path / name).read_text("utf-8")
        )


@pytest.mark.parametrize("name", ["../x.sql", "/etc/passwd", "a/../../x.sql", "7", "{b: ../x.sql}"])
def test_a_sql_file_outside_is_never_read(name: str) -> None:
    asked: list[str] = []

    def read_file(name: str) -> str:
        asked.append(name)
        return "SELECT 1"

    with pytest.raises(InvalidDag, match="beside or below the DAG file"):
        parse_dag(WITH_FILE.replace("sql/x.sql", name), where="f.yaml", read_file=read_file)
    assert not asked


def test_sql_and_sql_file_are_mutually_exclusive() -> None:
    text = WITH_FILE.replace("{sql_file", "{sql: SELECT 2, sql_file")
    with pytest.raises(InvalidDag, match="keep one of the two"):
        parse_dag(text, where="f.yaml", read_file=lambda _: "SELECT 1")
