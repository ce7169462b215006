"""The amount of recomputation in a plan, compared with limits."""

import pytest

from engine.planner import exceeded_limits, step_blocks, task_count
from tests.support.lineages import DAY, change, lineage, made, planned, source

FLIGHTS = source("flights", DAY)
WEEK = change("flights", "2013-02-11..2013-02-17")


def beyond(world, limit):
    return [str(each) for each in exceeded_limits(planned(world, WEEK), world, limit, {})]


def test_a_plan_within_the_limits_exceeds_none():
    world = lineage(FLIGHTS, made("a", DAY, "flights", scaling={"blast_radius": 7}))
    assert beyond(world, 7) == beyond(world, None) == []


def test_the_limit_of_the_org_applies_to_the_whole_plan():
    world = lineage(FLIGHTS, made("a", DAY, "flights"), made("b", DAY, "a"))
    assert beyond(world, 13) == ["14 partitions in all; the org allows 13 in one plan"]


def test_the_limit_of_a_job_applies_to_its_partitions():
    world = lineage(
        FLIGHTS, made("a", DAY, "flights", scaling={"blast_radius": 6}), made("b", DAY, "a")
    )
    assert beyond(world, None) == ["7 partitions of job a; job a allows 6 in one plan"]


def test_limits_count_partitions_and_not_tasks():
    scaling = {"partitions_per_task": 100, "blast_radius": 6}
    assert len(beyond(lineage(FLIGHTS, made("a", DAY, "flights", scaling=scaling)), None)) == 1


@pytest.mark.parametrize(
    "more", [{}, {"scaling": {"partitions_per_task": 3}}, {"strategy": "Full"}]
)
def test_the_task_count_equals_the_number_of_blocks(more):
    world = lineage(FLIGHTS, made("a", DAY, "flights", **more))
    (step,) = planned(world, WEEK, existing={"a": "2013-02-11"}).steps
    assert task_count(step, world) == len(list(step_blocks(step, world.job(step.job))))


def test_partitions_of_later_reach_count_for_the_org():
    world = lineage(FLIGHTS, made("a", DAY, "flights"))
    plan = planned(world, WEEK)
    (step,) = plan.steps
    later = {step.job: step.partitions.space.parse("2013-02-18..2013-02-20")}
    beyond = [str(each) for each in exceeded_limits(plan, world, 9, later)]
    assert beyond == ["10 partitions in all; the org allows 9 in one plan"]
