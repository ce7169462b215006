"""Mistakes in the binding of a topic to its dataset, with their lines."""

import pytest

from consumers.formats import format as formats
from engine.errors import InvalidDag
from engine.lineage.check_messages import BINDING_KEYS, MULTI_DATASET
from engine.lineage.compile import compile_dag
from engine.model.dagfile import parse_dag

DAG = """dag: d
jobs:
  - name: orders
    activation: source
    source: {{kind: kafka, topic: t, {source}}}
    outputs:
      - dataset: orders
        columns: [id, amount]
        partitioning:
          dt: {{time: day}}
          n: {{range: 100}}
          region: {{static: [EU, US]}}
"""


def compiled(source: str, dag: str = DAG) -> object:
    found = compile_dag(parse_dag(dag.format(source=source), where="f"), {})
    return found.jobs[0].source


def refusal(source: str, dag: str = DAG) -> str:
    with pytest.raises(InvalidDag) as refused:
        compiled(source, dag)
    return str(refused.value)


def test_a_binding_is_stored_with_expanded_short_forms() -> None:
    source = "format: debezium, key: [id], partition: {dt: at, region: {constant: EU}}"

    assert compiled(source) == {
        "kind": "kafka",
        "topic": "t",
        "format": "debezium",
        "key": ["id"],
        "partition": {"dt": {"field": "at"}, "region": {"constant": "EU"}},
    }


def test_bound_formats_equal_checked_formats() -> None:
    assert formats.BOUND_FORMATS.keys() == BINDING_KEYS.keys()
    assert formats.MULTI_DATASET.keys() == MULTI_DATASET


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("pattern: a/", "jobs[0].source.pattern: format knockon does not support this key"),
        ("format: csv, table: a.b", "jobs[0].source.table: format csv does not support this key"),
        ("format: s3, pattern: 'a/{dt}/{n}/{region}', key: [a]", "key: format s3 does not support"),
        ("format: s3", "jobs[0].source: format s3 needs a `pattern:`"),
        ("dead_letters: t", "source.dead_letters: this is the topic of the source: name another"),
        ("dead_letters: a b", "source.dead_letters: 'a b' is not a topic's name: letters, digits"),
        (
            "format: debezium, patition: {dt: a}",
            "jobs[0].source.patition: there is no such key; did you mean 'partition'?",
        ),
        (
            "format: debezium, partition: {day: a}",
            "source.partition.day: the dataset has no dimension 'day'; it has dt, n, region",
        ),
        ("format: debezium, partition: {dt: [a]}", "partition.dt: this is the name of a field, or"),
        (
            "format: debezium, partition: {dt: {field: a, constant: b}}",
            "partition.dt: this is the name of a field, or a mapping with either field or constant",
        ),
        (
            "format: debezium, partition: {dt: {constant: b, unit: days}}",
            "partition.dt: a constant has no unit or clock",
        ),
        (
            "format: debezium, partition: {dt: {field: a, unit: weeks}}",
            "partition.dt.unit: 'weeks' is not one of days, seconds",
        ),
        (
            "format: debezium, partition: {region: {constant: ASIA}}",
            "partition.region.constant: constant: 'ASIA' is not among the keys",
        ),
        (
            "format: debezium, partition: {n: {field: a, unit: days}}",
            "partition.n.unit: 'days' does not fit the dimension: write decimal",
        ),
        (
            "format: debezium, partition: {region: {field: a, unit: days}}",
            "partition.region.unit: 'days' does not fit the dimension: delete it",
        ),
        (
            "format: debezium, partition: {n: {field: a, clock: utc}}",
            "partition.n.clock: only time dimensions have a clock",
        ),
        (
            "format: debezium, columns: {amont: a}",
            "columns.amont: the dataset has no such column; did you mean 'amount'?",
        ),
        (
            "format: s3, pattern: 'a/{dt}/{n}/'",
            "pattern: there is no group {region} for the dimension 'region': add the group",
        ),
        (
            "format: s3, pattern: 'a/{dt}/{n}/{region}/{dt'",
            "pattern: groups are distinct names in braces",
        ),
        ("format: openlineage, unknown: skip", "unknown: 'skip' is not one of reject, ignore"),
        ("format: s3, namespace: n, pattern: 'a/{dt}/{n}/{region}'", "namespace: format s3"),
        ("format: record, registry: 'host:8081'", "registry: this must be a URL: write one like"),
    ],
)
def test_an_invalid_binding_is_rejected_with_its_line(source: str, message: str) -> None:
    text = refusal(source)

    assert text.startswith("f:5:")
    assert message in text
    assert "\n" not in text


def test_a_bound_format_requires_a_single_dataset() -> None:
    two = DAG + "      - {{dataset: b}}\n"

    assert "messages of format debezium are about a single dataset: add `dataset:`" in refusal(
        "format: debezium", two
    )


def test_openlineage_sources_may_have_several_datasets() -> None:
    two = (
        DAG.replace("        columns: [id, amount]\n", "")
        + """      - dataset: b
        partitioning: {{dt: {{time: day}}, n: {{range: 100}}, region: {{static: [EU, US]}}}}
"""
    )

    assert compiled("format: openlineage, name: 'public.{{dataset}}'", two)
    assert "source.name: the source has several datasets: write {dataset} in place" in refusal(
        "format: openlineage, name: public.b", two
    )
    assert compiled("format: openlineage, name: public.b, dataset: b", two)


@pytest.mark.parametrize(
    ("rule", "message"),
    [
        ("dag: d, name: 's.{t}', dataset: 's_{t}'", "dag: this is the DAG of the file"),
        ("dag: x, name: s, dataset: s", "name: write each variable part once"),
        ("dag: x, name: '{a}.{b}', dataset: '{a}'", "name: write each variable part once"),
        ("dag: x, name: '{a}.{a}', dataset: '{a}'", "name: write each variable part once"),
        ("dag: x, name: 's.{t', dataset: '{t}'", "name: write each variable part once"),
        ("dag: x, name: '{a}x{b}', dataset: '{a}{b}'", "name: groups match letters, digits"),
        ("dag: x, name: '{a}{b}', dataset: '{a}{b}'", "name: groups match letters, digits"),
        ("dag: x, name: 's.{t}', dataset: 's/{t}'", "dataset: this is not the name of a dataset"),
    ],
)
def test_an_invalid_discovery_rule_is_rejected(rule: str, message: str) -> None:
    source = f"format: openlineage, namespace: n, discover: {{{rule}}}"
    assert f"source.discover.{message}" in refusal(source)


def test_a_discovery_rule_requires_a_namespace() -> None:
    rule = "discover: {dag: x, name: 's.{t}', dataset: 's_{t}'}"
    assert "discover: discovery needs a namespace" in refusal(f"format: openlineage, {rule}")
    assert "discover: format s3 does not support" in refusal(f"format: s3, {rule}")


OVER_HTTP = DAG.replace("kind: kafka, topic: t", "kind: http, endpoint: orders")


def test_a_source_over_http_has_the_options_of_its_format() -> None:
    source = "format: debezium, key: [id], partition: {dt: at}, signing_secret: '${SHOP}'"
    assert compiled(source, OVER_HTTP) == {
        "kind": "http",
        "endpoint": "orders",
        "format": "debezium",
        "key": ["id"],
        "partition": {"dt": {"field": "at"}},
        "signing_secret": "${SHOP}",
    }


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("pattern: a/", "jobs[0].source.pattern: format knockon does not support this key"),
        ("format: s3", "jobs[0].source: format s3 needs a `pattern:`"),
        ("dataset: order", "did you mean 'orders'?"),
        ("dead_letters: other", "jobs[0].source.dead_letters: there is no such key"),
        ("topic: t", "jobs[0].source.topic: there is no such key"),
        ("signing_secret: whsec_MfKQ9r8G", "jobs[0].source.signing_secret: this contains a secret"),
        ("signing_secret: '${A} whsec_MfKQ'", "signing_secret: this contains a secret"),
        (
            "format: debezium, partition: {day: a}",
            "source.partition.day: the dataset has no dimension 'day'; it has dt, n, region",
        ),
    ],
)
def test_mistakes_in_a_source_over_http(source: str, message: str) -> None:
    assert message in refusal(source, OVER_HTTP)


@pytest.mark.parametrize("name", ["a/b", "a b", "..", "a?b", "é", "%2e", "1"])
def test_an_endpoint_is_a_name(name: str) -> None:
    dag = OVER_HTTP.replace("endpoint: orders", f"endpoint: '{name}'")
    assert "jobs[0].source.endpoint" in refusal("format: knockon", dag)
