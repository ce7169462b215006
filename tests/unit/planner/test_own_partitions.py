"""Jobs that read earlier partitions of their own output."""

import pytest

from engine.planner import MissingState, lookup_in, missing_inputs, plan, step_blocks
from tests.support.lineages import (
    DAY,
    NOW,
    ORIGIN,
    change,
    dataset_id,
    directly_invalidated,
    job_id,
    lineage,
    made,
    planned,
    reads,
    source,
    steps,
    texts,
)

DAY_BEFORE = {"dt": {"from": "dt", "window": [-1, -1]}}
FLIGHTS = source("flights", DAY)
BALANCE = made("balance", DAY, "flights", reads("balance", DAY_BEFORE))
REPORT = made("report", DAY, "balance")
WORLD = lineage(FLIGHTS, BALANCE, REPORT)


def planned_among_tasks(world, *changes, unfinished="", existing=None):
    """The plan, where tasks for the partitions ``unfinished`` of `balance` have not ended."""
    space = world.space(dataset_id("balance"))
    loaded = {
        dataset_id(name): space.from_keys(keys.split()) for name, keys in (existing or {}).items()
    }
    of_tasks = {dataset_id("balance"): space.from_keys(unfinished.split())}
    return plan(world, changes, lookup_in(loaded, of_tasks), NOW)


def tasks(world, found, name="balance"):
    step = next(step for step in found.steps if step.job == job_id(name))
    return [key for _, keys, _ in step_blocks(step, world.job(step.job)) for key in keys]


def later(found):
    return {each.after: texts(each.partitions) for step in found.steps for each in step.later}


def test_the_order_of_jobs_disregards_the_own_output():
    assert [job.name for job in WORLD.order] == ["flights", "balance", "report"]


def test_only_the_first_partition_of_a_chain_gets_a_task():
    found = planned_among_tasks(WORLD, change("flights", "2013-02-01..2013-02-05"))

    assert steps(WORLD, found)["balance"] == "2013-02-01..2013-02-05"
    assert tasks(WORLD, found) == ["2013-02-01"]
    assert later(found) == {"2013-02-01": "2013-02-02..2013-02-05"}
    assert directly_invalidated(WORLD, found)["balance"] == "2013-02-01..2013-02-05"


def test_readers_are_reached_by_partitions_with_tasks_only():
    found = planned_among_tasks(WORLD, change("flights", "2013-02-01..2013-02-05"))

    assert steps(WORLD, found)["report"] == "2013-02-01"


def test_partitions_wait_for_an_unfinished_task_of_an_earlier_one():
    found = planned_among_tasks(
        WORLD, change("flights", "2013-02-03..2013-02-05"), unfinished="2013-02-01"
    )

    assert tasks(WORLD, found) == []
    assert later(found) == {"2013-02-01": "2013-02-03..2013-02-05"}
    assert "report" not in steps(WORLD, found)


def test_a_partition_with_a_task_joins_it():
    found = planned_among_tasks(
        WORLD, change("flights", "2013-02-03..2013-02-05"), unfinished="2013-02-03"
    )

    assert tasks(WORLD, found) == ["2013-02-03"]
    assert later(found) == {"2013-02-03": "2013-02-04..2013-02-05"}


def test_a_partition_before_all_unfinished_tasks_gets_a_task():
    found = planned_among_tasks(
        WORLD, change("flights", "2013-02-01..2013-02-05"), unfinished="2013-02-03"
    )

    assert tasks(WORLD, found) == ["2013-02-01", "2013-02-03"]
    assert later(found) == {"2013-02-01": "2013-02-02 2013-02-04..2013-02-05"}


def test_chains_are_separate_by_the_other_dimensions():
    world = lineage(
        source("flights", DAY | ORIGIN),
        made(
            "balance",
            DAY | ORIGIN,
            "flights",
            reads("balance", DAY_BEFORE | {"origin": "origin"}),
        ),
    )

    found = planned_among_tasks(
        world,
        change("flights", "dt=2013-02-01..2013-02-03/origin=EWR"),
        change("flights", "dt=2013-02-02..2013-02-04/origin=JFK"),
    )

    assert tasks(world, found) == ["dt=2013-02-01/origin=EWR", "dt=2013-02-02/origin=JFK"]
    assert later(found) == {
        "dt=2013-02-01/origin=EWR": "dt=2013-02-02..2013-02-03/origin=EWR",
        "dt=2013-02-02/origin=JFK": "dt=2013-02-03..2013-02-04/origin=JFK",
    }


def test_a_partition_rewritten_by_hand_triggers_the_next_one():
    rewritten = change("balance", "2013-02-01", reason="rewritten")
    existing = {"balance": "2013-02-01 2013-02-02"}

    found = planned_among_tasks(WORLD, rewritten, existing=existing)

    assert steps(WORLD, found) == {"balance": "2013-02-02", "report": "2013-02-01..2013-02-02"}


def test_a_partition_rewritten_by_hand_does_not_bring_the_next_one_into_existence():
    rewritten = change("balance", "2013-02-01", reason="rewritten")
    existing = {"balance": "2013-02-01"}

    found = planned_among_tasks(WORLD, rewritten, existing=existing)

    assert steps(WORLD, found) == {"report": "2013-02-01"}


def test_the_own_output_does_not_determine_partitions():
    found = planned_among_tasks(
        WORLD,
        change("balance", reason="definition_change"),
        existing={"balance": "", "flights": "2013-02-01 2013-02-02"},
    )

    assert steps(WORLD, found)["balance"] == "2013-02-01..2013-02-02"


def test_unfinished_tasks_are_loaded_on_demand():
    with pytest.raises(MissingState) as missing:
        planned(WORLD, change("flights", "2013-02-01"))

    assert missing.value.unfinished == {dataset_id("balance")}


def test_a_first_run_waits_for_earlier_partitions_with_inputs_only():
    world = lineage(
        FLIGHTS, made("balance", DAY, "flights", reads("balance", DAY_BEFORE, wait_for="all"))
    )
    days = world.space(dataset_id("flights")).from_keys(["2013-02-01", "2013-02-02"])
    loaded = lookup_in({dataset_id("flights"): days, dataset_id("balance"): days.space.empty})
    job = world.job(job_id("balance"))

    assert missing_inputs(world, job, ["2013-02-01"], loaded, NOW) is None
    assert missing_inputs(world, job, ["2013-02-02"], loaded, NOW) == {"balance": ["2013-02-01"]}
