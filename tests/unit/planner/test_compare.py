"""Comparison of two plans."""

from engine.planner import Difference, differences, document
from tests.support.lineages import DAY, MONTH, change, lineage, made, planned, source

FLIGHTS = source("flights", DAY)
WEEK = "2013-02-11..2013-02-17"


def steps(world, *changes):
    written = document(planned(world, *changes), world)["steps"]
    return {("small", step["name"]): step for step in written}


def compared(before, now):
    return differences(steps(*before), steps(*now), now[0])


def test_the_same_is_no_difference():
    world = lineage(FLIGHTS, made("a", DAY, "flights"), made("b", MONTH, "a"))
    assert compared((world, change("flights", WEEK)), (world, change("flights", WEEK))) == ()


def test_jobs_come_and_go():
    old = lineage(FLIGHTS, made("a", DAY, "flights"))
    new = lineage(FLIGHTS, made("b", DAY, "flights"))
    assert compared((old, change("flights", WEEK)), (new, change("flights", WEEK))) == (
        Difference("small", "b", "new", more=(WEEK,)),
        Difference("small", "a", "gone", fewer=(WEEK,)),
    )


def test_partitions_come_and_go():
    world = lineage(FLIGHTS, made("a", DAY, "flights"))
    before = (world, change("flights", WEEK))
    assert compared(before, (world, change("flights", "2013-02-16..2013-02-18"))) == (
        Difference(
            "small", "a", "different", more=("2013-02-18",), fewer=("2013-02-11..2013-02-15",)
        ),
    )


def test_partitions_that_are_cut_otherwise_are_told_whole():
    old = lineage(FLIGHTS, made("a", DAY, "flights"))
    new = lineage(FLIGHTS, made("a", MONTH, "flights"))
    (found,) = compared((old, change("flights", WEEK)), (new, change("flights", WEEK)))
    assert (found.more, found.fewer) == (("2013-02",), (WEEK,))


def test_what_runs_for_sure_counts_too():
    world = lineage(FLIGHTS, made("a", DAY, "flights"), made("b", DAY, "a"))
    wrong = change("b", "2013-02-11")
    (found,) = compared((world, change("flights", WEEK)), (world, change("flights", WEEK), wrong))
    assert (found.job, found.more, found.fewer) == ("b", (), ())
    assert found.notes == ("must run: none before, 2013-02-11 now",)
