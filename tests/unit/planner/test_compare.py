"""Comparison of two plans."""

from engine.planner import Difference, differences, document
from tests.support.lineages import DAY, MONTH, change, lineage, made, planned, reads, source

FLIGHTS = source("flights", DAY)
WEEK = "2013-02-11..2013-02-17"


def steps(world, *changes, **existing):
    written = document(planned(world, *changes, **existing), world)["steps"]
    return {("small", step["name"]): step for step in written}


def compared(before, now):
    return differences(steps(*before), steps(*now), now[0])


def test_equal_plans_have_no_differences():
    world = lineage(FLIGHTS, made("a", DAY, "flights"), made("b", MONTH, "a"))
    assert compared((world, change("flights", WEEK)), (world, change("flights", WEEK))) == ()


def test_jobs_are_added_and_removed():
    old = lineage(FLIGHTS, made("a", DAY, "flights"))
    new = lineage(FLIGHTS, made("b", DAY, "flights"))
    assert compared((old, change("flights", WEEK)), (new, change("flights", WEEK))) == (
        Difference("small", "b", "new", more=(WEEK,)),
        Difference("small", "a", "gone", fewer=(WEEK,)),
    )


def test_partitions_are_added_and_removed():
    world = lineage(FLIGHTS, made("a", DAY, "flights"))
    before = (world, change("flights", WEEK))
    assert compared(before, (world, change("flights", "2013-02-16..2013-02-18"))) == (
        Difference(
            "small", "a", "different", more=("2013-02-18",), fewer=("2013-02-11..2013-02-15",)
        ),
    )


def test_partitions_of_another_partitioning_are_listed_completely():
    old = lineage(FLIGHTS, made("a", DAY, "flights"))
    new = lineage(FLIGHTS, made("a", MONTH, "flights"))
    (found,) = compared((old, change("flights", WEEK)), (new, change("flights", WEEK)))
    assert (found.more, found.fewer) == (("2013-02",), (WEEK,))


def test_a_changed_must_run_is_a_difference():
    world = lineage(FLIGHTS, made("a", DAY, "flights"), made("b", DAY, "a"))
    wrong = change("b", "2013-02-11")
    (found,) = compared((world, change("flights", WEEK)), (world, change("flights", WEEK), wrong))
    assert (found.job, found.more, found.fewer) == ("b", (), ())
    assert found.notes == ("must run: none before, 2013-02-11 now",)


def test_other_rows_are_a_difference():
    world = lineage(
        source("events"),
        made("log", {}, reads("events", cursor={"column": "id"}), strategy="PerUpdate"),
    )
    seven, eight = (change("events", row_filter={"id": n}) for n in (7, 8))
    (found,) = compared((world, seven), (world, eight))
    assert (found.job, found.kind, found.more, found.fewer) == ("log", "different", (), ())
    assert found.notes == ("rows: [{'id': 7}] before, [{'id': 8}] now",)


def test_a_stored_step_without_a_list_of_partitions_has_none():
    world = lineage(
        source("events"),
        made("found", {"k": {"dynamic": True}}, reads("events", mapping="all"), strategy="Full"),
    )
    now = steps(world, change("events", "*"), existing={"events": "*", "found": None})
    before = {
        name: {k: v for k, v in step.items() if k != "partitions"} for name, step in now.items()
    }
    assert differences(before, now, world) == ()
    assert differences(before, {}, world) == (Difference("small", "found", "gone"),)
