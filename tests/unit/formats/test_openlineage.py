"""Run events of OpenLineage in the form sent by its clients."""

from typing import Any

import msgspec
import pytest

from consumers.formats.format import BOUND_FORMATS
from consumers.formats.reading import Reader
from consumers.sources import Feed
from engine.model.dag_sources import KafkaSource
from engine.model.event import MAX_LISTED, Delivery, Rejection, Widened
from engine.model.openlineage import PRODUCER
from tests.support.bindings import bound

SALES = {"dt": {"time": "day"}, "region": {"static": ["eu west", "us"]}}
WAREHOUSE = "postgres://wh:5432"
BASE = {"_producer": "https://example.com/jobs", "_schemaURL": "https://example.com/facet.json"}
RUN = "01941f29-7c00-7087-8906-40e512c257bd"
DAY_US = ("dt=2026-01-02/region=us",)


def run_event(*outputs: Any, kind: str | None = "COMPLETE", **more: Any) -> dict[str, Any]:
    return {
        "eventType": kind,
        "eventTime": "2026-01-03T00:00:00.000Z",
        "producer": "https://example.com/jobs",
        "schemaURL": "https://openlineage.io/spec/2-0-2/OpenLineage.json#/$defs/RunEvent",
        "run": {"runId": RUN, "facets": {}},
        "job": {"namespace": "loads", "name": "nightly"},
        "inputs": [{"namespace": WAREHOUSE, "name": "orders"}],
        "outputs": list(outputs),
        **more,
    }


def output(
    name: str = "orders", condition: Any = None, namespace: str = WAREHOUSE, **facets: Any
) -> dict[str, Any]:
    subset = {} if condition is None else {"subset": {**BASE, "outputCondition": condition}}
    return {
        "namespace": namespace,
        "name": name,
        "facets": {each: {**BASE, **facet} for each, facet in facets.items()},
        "outputFacets": {"outputStatistics": {**BASE, "rowCount": 3}, **subset},
    }


def partitions(*dimensions: dict[str, Any]) -> dict[str, Any]:
    return {"type": "partition", "partitions": [{"dimensions": each} for each in dimensions]}


def equal(field: str, value: str) -> dict[str, Any]:
    sides = {"left": {"type": "field", "field": field}, "right": {"type": "literal"}}
    sides["right"]["value"] = value
    return {"type": "compare", "comparison": "EQUAL", **sides}


def binary(operator: str, left: Any, right: Any) -> dict[str, Any]:
    return {"type": "binary", "operator": operator, "left": left, "right": right}


def read(message: object, partitioning: dict[str, Any] = SALES, **source: Any) -> list[Any]:
    return bound("openlineage", partitioning, None, **source)(
        msgspec.json.encode(message), {}, None
    )


def events_of(message: object, **more: Any) -> list[tuple[object, str]]:
    events = read(message, **more)
    assert all(event.columns is None and event.rows is None for event in events)
    return [(event.partitions, event.reason + "!" * isinstance(event, Widened)) for event in events]


def written(condition: Any, **more: Any) -> list[tuple[object, str]]:
    return events_of(run_event(output(condition=condition)), **more)


def test_an_event_has_the_run_and_job_of_a_completed_run() -> None:
    (event,) = read(run_event(output(condition=partitions({"dt": "2026-01-02", "region": "us"}))))

    assert (event.dataset, event.partitions) == ("orders", DAY_US)
    assert (event.id, event.source, event.note) == (RUN, "loads/nightly", None)


@pytest.mark.parametrize("kind", ["FAIL", "ABORT"])
def test_a_failed_run_may_have_written(kind: str) -> None:
    there = partitions({"dt": "2026-01-02", "region": "us"})
    [event] = read(run_event(output(condition=there), kind=kind))

    assert (event.partitions, isinstance(event, Widened)) == (DAY_US, True)
    assert "the run failed" in (event.note or "")


def test_a_streaming_job_writes_while_it_runs() -> None:
    facets = {"jobType": {**BASE, "processingType": "STREAMING", "integration": "FLINK"}}
    job = {"namespace": "loads", "name": "stream", "facets": facets}

    assert events_of(run_event(output(), kind="RUNNING", job=job)) == [(None, "change!")]
    assert events_of(run_event(output(), kind="START", job=job)) == []


@pytest.mark.parametrize("kind", ["START", "RUNNING", "OTHER", None])
def test_an_unfinished_run_is_no_event(kind: str | None) -> None:
    assert events_of(run_event(output(), kind=kind)) == []


def test_messages_other_than_runs_are_ignored() -> None:
    of_job = {"job": {"namespace": "n", "name": "j"}, "outputs": [output()]}

    assert events_of(of_job) == []
    assert events_of({"dataset": {"namespace": WAREHOUSE, "name": "orders"}}) == []
    assert events_of(run_event()) == []
    assert events_of(run_event(outputs=None)) == []


def test_events_of_knockon_itself_are_ignored() -> None:
    assert events_of(run_event(output(), producer=PRODUCER)) == []


def test_without_a_subset_the_whole_dataset_may_have_been_written() -> None:
    (event,) = read(run_event(output()))

    assert isinstance(event, Widened)
    assert event.partitions is None
    assert event.note is not None
    assert "no facet `subset`" in event.note
    assert events_of(run_event(output()), partitioning={}) == [(("*",), "change")]


def test_partition_conditions_map_to_partitions() -> None:
    two = partitions(
        {"dt": "2026-01-02", "region": "us"}, {"dt": "2026-01-03", "region": "eu west"}
    )

    assert written(two) == [((*DAY_US, "dt=2026-01-03/region=eu west"), "change")]
    assert written(partitions({"region": "us"})) == [(("region=us",), "change!")]
    assert written(partitions({"dt": "soon", "region": "us"})) == [(("region=us",), "change!")]
    assert written(partitions({"hour": "5"})) == [(None, "change!")]
    day = {"dt": {"field": "d", "unit": "days"}, "region": {"constant": "us"}}
    assert written(partitions({"d": 20455}), partition=day) == [(DAY_US, "change")]


def test_hive_locations_map_to_partitions() -> None:
    def at(*locations: str) -> list[tuple[object, str]]:
        return written({"type": "location", "locations": list(locations)})

    assert at("s3://lake/sales/dt=2026-01-02/region=us/part-0.parquet") == [(DAY_US, "change")]
    assert at("s3://lake/sales/region=eu%20west/dt=2026-01-02") == [
        (("dt=2026-01-02/region=eu west",), "change")
    ]
    assert at("s3://lake/sales/") == [(None, "change!")]
    assert at("/dt=2026-01-02/region=__HIVE_DEFAULT_PARTITION__/a") == [
        (("dt=2026-01-02",), "change!")
    ]


def test_a_location_may_be_a_path_or_a_uri() -> None:
    def regions(location: str) -> object:
        event = run_event(output(condition={"type": "location", "locations": [location]}))
        [found] = bound("openlineage", {"region": {"dynamic": True}})(
            msgspec.json.encode(event), {}, None
        )
        return found.partitions

    assert regions("/sales/region=A%3AB/a") == ("A:B",)
    assert regions("s3://lake/sales/region%3DA:B/a") == ("A:B",)
    assert regions("s3://lake/sales/region=A%253AB/") == ("A%3AB", "A:B")
    assert regions("s3://lake/sales/region=A%252FB/") is None


def test_the_hive_null_name_is_a_null_in_any_condition() -> None:
    null = "__HIVE_DEFAULT_PARTITION__"
    open_region = [(("dt=2026-01-02",), "change!")]

    assert written(partitions({"dt": "2026-01-02", "region": null})) == open_region
    both = binary("AND", equal("dt", "2026-01-02"), equal("region", null))
    assert written(both) == open_region


def test_comparisons_map_to_partitions_if_unambiguous() -> None:
    day, us = equal("dt", "2026-01-02"), equal("region", "us")

    assert written(binary("AND", day, us)) == [(DAY_US, "change")]
    assert written(binary("AND", us, {**day, "left": day["right"], "right": day["left"]})) == [
        (DAY_US, "change")
    ]
    assert written(binary("OR", binary("AND", day, us), us)) == [
        ((*DAY_US, "region=us"), "change!")
    ]
    assert written(binary("AND", binary("OR", day, equal("dt", "2026-01-03")), us)) == [
        ((*DAY_US, "dt=2026-01-03/region=us"), "change")
    ]
    assert written(binary("AND", us, equal("status", "paid"))) == [(("region=us",), "change!")]
    assert written(binary("OR", us, equal("status", "paid"))) == [(None, "change!")]
    assert written({**day, "comparison": "LESS_THAN"}) == [(None, "change!")]


@pytest.mark.parametrize(
    "condition",
    [
        {},
        [],
        "all",
        {"type": "partition"},
        {"type": "partition", "partitions": []},
        {"type": "partition", "partitions": [{"identifier": "p1"}, 7]},
        {"type": "location", "locations": [3]},
        {"type": "location", "locations": []},
        {"type": "binary", "operator": "XOR", "left": {}, "right": {}},
        {"type": "compare", "comparison": "EQUAL", "left": {}, "right": {}},
        {"type": "of tomorrow"},
    ],
)
def test_unsupported_conditions_widen(condition: Any) -> None:
    assert written(condition) == [(None, "change!")]


def test_no_condition_is_too_large() -> None:
    many = partitions(*({"dt": "2026-01-02", "region": f"r{i}"} for i in range(MAX_LISTED + 1)))
    dates = [f"{year}-{m:02}-{d:02}" for year in range(1990, 2026) for m in range(1, 13)
             for d in range(1, 29)]  # fmt: skip
    listed = partitions(*({"dt": date, "region": "us"} for date in dates))
    both = binary("AND", partitions(*({"dt": date} for date in dates)), equal("region", "us"))
    assert written(many) == [(("dt=2026-01-02",), "change!")]
    assert written(listed) == [(None, "change!")]
    assert written(binary("OR", listed, listed)) == [(None, "change!")]
    assert written(both) == [(("region=us",), "change!")]


def test_a_deeply_nested_condition_is_rejected() -> None:
    opening, closing = b'{"type":"binary","operator":"AND","right":{},"left":', b"}"

    def outcome(depth: int) -> object:
        nested = opening * depth + b"{}" + closing * depth
        message = msgspec.json.encode(run_event(output(condition="X"))).replace(b'"X"', nested)
        return Reader(bound("openlineage", SALES, None)).read(Delivery("s", "1", message, {}))

    outcomes = [outcome(depth) for depth in (10, *range(800, 1100, 7), 20_000)]

    assert isinstance(outcomes[0], list)
    assert isinstance(outcomes[-1], Rejection)
    errors = [each.error for each in outcomes if isinstance(each, Rejection)]
    assert not any("the format failed" in error for error in errors)


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ("ALTER", (None, "schema_change")),
        ("DROP", (None, "change")),
        ("OVERWRITE", (None, "change")),
        ("TRUNCATE", (None, "change")),
        ("RENAME", (None, "change")),
        ("CREATE", (DAY_US, "arrival")),
        ("REST", (DAY_US, "change")),
    ],
)
def test_lifecycle_changes_affect_the_whole_dataset(change: str, expected: Any) -> None:
    one = partitions({"dt": "2026-01-02", "region": "us"})
    facet = {"lifecycleStateChange": change}

    assert events_of(run_event(output(condition=one, lifecycleStateChange=facet))) == [expected]


def test_a_dataset_renamed_to_another_has_changed() -> None:
    facet = {
        "lifecycleStateChange": "RENAME",
        "previousIdentifier": {"namespace": WAREHOUSE, "name": "orders"},
    }
    moved = run_event(output("archive", lifecycleStateChange=facet))

    assert events_of(moved, unknown="ignore") == [(None, "change")]


def test_a_dataset_is_matched_by_the_name_in_its_source() -> None:
    namespaced = run_event(output("shop.public.orders"))
    named: dict[str, Any] = {"name": "shop.public.{dataset}", "namespace": WAREHOUSE}
    linked = output(
        "/lake/orders",
        namespace="file",
        symlinks={
            "identifiers": [{"namespace": WAREHOUSE, "name": "shop.public.orders", "type": "TABLE"}]
        },
    )

    assert events_of(namespaced, **named) == [(None, "change!")]
    assert events_of(run_event(linked), **named) == [(None, "change!")]
    assert events_of(run_event(output("orders")), **named)[0][0] is None
    assert read(run_event(output("orders")), **named)[0].dataset == f"{WAREHOUSE}/orders"


def test_an_unknown_dataset_has_a_name_that_cannot_be_registered() -> None:
    message = run_event(output("customers"), output("orders"))

    assert [event.dataset for event in read(message)] == [f"{WAREHOUSE}/customers", "orders"]
    assert [event.dataset for event in read(message, unknown="ignore")] == ["orders"]
    assert [e.dataset for e in read(message, namespace=WAREHOUSE)] == [
        f"{WAREHOUSE}/customers",
        "orders",
    ]
    assert read(message, namespace="s3://lake") == []


def test_one_event_covers_datasets_of_all_sources_of_the_topic() -> None:
    def feed(dataset: str, **more: Any) -> Feed:
        spec = {"kind": "kafka", "topic": "t", "format": "openlineage", "dataset": dataset}
        return Feed(KafkaSource.model_validate({**spec, **more}))

    feeds = [feed("orders", name="public.{dataset}"), feed("customers", name="public.{dataset}")]
    read_all = BOUND_FORMATS["openlineage"]([each.binding for each in feeds], None)
    message = run_event(output("public.customers"), output("public.orders"), output("public.x"))
    events = read_all(msgspec.json.encode(message), {}, None)

    assert [event.dataset for event in events] == [
        "customers",
        "orders",
        f"{WAREHOUSE}/public.x",
    ]


@pytest.mark.parametrize(
    ("value", "complaint"),
    [
        (None, "null value: send an OpenLineage run event"),
        (b"{", "not an OpenLineage event"),
        (b"[]", "not an OpenLineage event"),
        (b"{}", "it has no run, job or dataset"),
        (b'{"eventType": "DONE", "run": {"runId": "1"}}', "Invalid enum value 'DONE'"),
        (b'{"eventType": "COMPLETE", "run": {}}', "missing required field `runId`"),
        (
            b'{"eventType": "COMPLETE", "run": {"runId": "1"}, "outputs": [{"name": "a"}]}',
            "missing required field `namespace` - at `$.outputs[0]`",
        ),
    ],
)
def test_an_invalid_event_is_rejected(value: bytes | None, complaint: str) -> None:
    outcome = Reader(bound("openlineage"), is_bounded=True).read(Delivery("s", "1", value, {}))

    assert isinstance(outcome, Rejection)
    assert complaint in outcome.error
