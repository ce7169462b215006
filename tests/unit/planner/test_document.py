"""The document of a plan, and the path from a job back to its cause."""

import json
from uuid import uuid4

import pytest

from engine.errors import UnknownName
from engine.planner import document, hops_of, path_to
from tests.support.lineages import (
    DAY,
    MONTH,
    change,
    dataset_id,
    job_id,
    lineage,
    made,
    planned,
    reads,
    source,
)

WORLD = lineage(
    source("flights", DAY),
    source("planes"),
    made("daily", DAY, "flights", "planes"),
    made("long", DAY, "daily"),
    made("monthly", MONTH, "long", "daily"),
    columns=["daily.x <- flights.a", "daily.y <- planes.b"],
)
FLIGHTS = change("flights", "2013-02-13", columns="a")
PLANES = change("planes", "*", columns="c")


def documented(*changes, **existing):
    found = document(planned(WORLD, *changes, **existing), WORLD)
    assert json.loads(json.dumps(found)) == found
    return found


def test_a_document_lists_steps_triggers_and_pruned_edges():
    found = documented(FLIGHTS, PLANES)

    assert found == {
        "steps": [
            {
                "job": str(job_id("daily")),
                "name": "daily",
                "partitions": ["2013-02-13"],
                "directly_invalidated": "all",
                "columns": {"daily": ["x"]},
                "via": [0],
            },
            {
                "job": str(job_id("long")),
                "name": "long",
                "partitions": ["2013-02-13"],
                "via": [1],
            },
            {
                "job": str(job_id("monthly")),
                "name": "monthly",
                "partitions": ["2013-02"],
                "via": [2, 3],
            },
        ],
        "hops": [
            {"dataset": "flights", "columns": ["a"], "invalidation_set": 0},
            {
                "dataset": "daily",
                "from": str(job_id("daily")),
                "columns": ["x"],
                "invalidation_set": 0,
            },
            {
                "dataset": "daily",
                "from": str(job_id("daily")),
                "mapping": {"dt": "dt"},
                "partitions": ["2013-02-13"],
                "columns": ["x"],
                "invalidation_set": 0,
            },
            {
                "dataset": "long",
                "from": str(job_id("long")),
                "mapping": {"dt": "dt"},
                "partitions": ["2013-02-13"],
                "invalidation_set": 0,
            },
        ],
        "pruned": [
            {
                "dataset": "planes",
                "job": str(job_id("daily")),
                "name": "daily",
                "rule": "columns",
                "detail": "changed columns {c} are not read; it reads {b}",
            }
        ],
        "changed_partitions": {"flights": ["2013-02-13"], "planes": ["*"]},
        "invalidation_sets": [[str(FLIGHTS.id)]],
    }


def test_part_of_a_step_may_be_directly_invalidated():
    rewritten = change("daily", "2013-02-14", reason="rewritten")

    found = documented(FLIGHTS, rewritten)

    long = next(step for step in found["steps"] if step["name"] == "long")
    assert long["partitions"] == ["2013-02-13..2013-02-14"]
    assert long["directly_invalidated"] == ["2013-02-14"]
    assert [
        found["invalidation_sets"][hop["invalidation_set"]] for hop in hops_of(found, long)
    ] == [
        [str(rewritten.id)],
        [str(FLIGHTS.id)],
    ]


def test_the_path_is_the_shortest_and_ends_at_the_change():
    hops = path_to(documented(FLIGHTS), str(job_id("monthly")))

    assert [(hop["name"], hop["dataset"], hop["from"]) for hop in hops] == [
        ("monthly", "daily", str(job_id("daily"))),
        ("daily", "flights", None),
    ]
    assert hops[0]["partitions"] == ["2013-02"]
    assert hops[0]["dirty"] == ["2013-02-13"]
    assert hops[0]["columns"] == ["x"]
    assert hops[1]["mapping"] == "identity"
    assert hops[1]["dirty"] == ["2013-02-13"]
    assert hops[1]["invalidations"] == [str(FLIGHTS.id)]


def test_the_path_from_an_invalidated_output_ends_there():
    (hop,) = path_to(documented(change("daily", "2013-02-13")), str(job_id("daily")))

    assert (hop["dataset"], hop["mapping"], hop["from"]) == ("daily", "itself", None)


def test_the_path_ends_at_a_job_of_an_earlier_plan():
    resumed = change("flights", "2013-02-13", processed_by=frozenset({job_id("daily")}))

    (hop,) = path_to(documented(resumed), str(job_id("long")))

    assert hop["from"] == str(job_id("daily"))


def test_the_path_of_a_job_without_a_step_is_rejected():
    with pytest.raises(UnknownName, match="no step of job"):
        path_to(documented(FLIGHTS), str(uuid4()))


def test_row_filters_are_in_the_document():
    world = lineage(
        source("events"),
        made("log", {}, reads("events", cursor={"column": "id"}), strategy="PerUpdate"),
    )

    (step,) = document(planned(world, change("events", row_filter={"id": {"lt": 7}})), world)[
        "steps"
    ]

    assert step["row_filters"] == [{"id": {"lt": 7}}]


def test_changed_partitions_are_listed_by_dataset():
    found = planned(WORLD, FLIGHTS)

    assert set(found.changed_partitions) == {dataset_id("flights")}


def test_a_job_that_has_found_no_partition_has_a_step_without_partitions():
    world = lineage(
        source("events"),
        made("found", {"k": {"dynamic": True}}, reads("events", mapping="all"), strategy="Full"),
    )
    found = document(
        planned(world, change("events", "*"), existing={"events": "*", "found": None}), world
    )
    (hop,) = path_to(found, str(job_id("found")))
    assert (hop["partitions"], hop["dirty"]) == ([], ["*"])
