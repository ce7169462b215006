"""From steps to tasks: blocks, inputs, and dependencies."""

import pytest

from engine.model.job import AllBut
from engine.planner import input_partitions, lookup_in, missing_inputs, step_blocks, upstream
from engine.planner.inputs import ANY_PARTITION
from tests.support.lineages import (
    DAY,
    MONTH,
    NOW,
    ORIGIN,
    TAIL,
    change,
    dataset_id,
    job_id,
    lineage,
    made,
    planned,
    reads,
    source,
    texts,
)

FLIGHTS = source("flights", DAY)


def wanted(world, *changes, **existing):
    step = planned(world, *changes, **existing).steps[-1]
    return list(step_blocks(step, world.job(step.job)))


class TestNeeds:
    def test_a_task_must_run_if_its_partition_is_directly_invalidated(self):
        world = lineage(FLIGHTS, made("a", DAY, "flights"), made("b", DAY, "a", "flights"))
        rewritten = change("a", "2013-02-13..2013-02-14", reason="rewritten")

        assert wanted(world, rewritten) == [
            ("2013-02-13", ("2013-02-13",), True),
            ("2013-02-14", ("2013-02-14",), True),
        ]

    def test_a_task_need_not_run_if_only_upstream_tasks_may_change_it(self):
        world = lineage(FLIGHTS, made("a", DAY, "flights"), made("b", MONTH, "a"))

        assert wanted(world, change("flights", "2013-02-13")) == [("2013-02", ("2013-02",), False)]

    def test_adjacent_partitions_share_a_task_up_to_the_block_size(self):
        scaling = {"partitions_per_task": 10}
        world = lineage(FLIGHTS, made("a", DAY, "flights", scaling=scaling))

        found = wanted(world, change("flights", "2013-02-01..2013-02-28"))

        assert [key for _, keys, _ in found for key in keys] == [
            f"2013-02-{d:02}" for d in range(1, 29)
        ]
        assert max(len(keys) for _, keys, _ in found) == 10
        assert len(found) in (3, 4)

    def test_a_block_must_run_if_any_partition_is_directly_invalidated(self):
        world = lineage(
            FLIGHTS,
            made("a", DAY, "flights"),
            made("b", DAY, "a", scaling={"partitions_per_task": 1000}),
        )

        found = wanted(
            world,
            change("flights", "2013-02-13"),
            change("a", "2013-02-14", reason="rewritten"),
        )

        assert [(keys, must_run) for _, keys, must_run in found] == [
            (("2013-02-13", "2013-02-14"), True)
        ]

    @pytest.mark.parametrize("strategy", ["Full", "PerUpdate"])
    def test_a_single_run_is_one_task_with_all_partitions(self, strategy):
        world = lineage(FLIGHTS, made("all", DAY, "flights", strategy=strategy))
        existing = {"all": "2013-02-01..2013-02-03"}

        found = wanted(world, change("flights", "2013-02-03"), existing=existing)

        assert found == [("*", ("2013-02-01", "2013-02-02", "2013-02-03"), True)]


class TestInputs:
    WORLD = lineage(
        FLIGHTS,
        source("planes"),
        made("daily", DAY, "flights"),
        made("wide", DAY, "flights"),
        made(
            "month",
            MONTH,
            "daily",
            reads("wide", "all"),
            "flights",
            reads("flights", "last", alias="l"),
        ),
    )

    def test_upstream_partitions_exclude_sources(self):
        found = upstream(self.WORLD, self.WORLD.job(job_id("month")), ["2013-02", "2013-04"])

        assert {
            self.WORLD.job(job).name: p if p is ANY_PARTITION else texts(p)
            for job, p in found.items()
        } == {
            "daily": "2013-02-01..2013-02-28 2013-04-01..2013-04-30",
            "wide": ANY_PARTITION,
        }

    def test_a_reader_of_the_last_depends_on_any_upstream_partition(self):
        bounded = {"dt": {"time": "day", "start": "2013-02-01", "end": "2013-03-01"}}
        world = lineage(
            source("flights", bounded),
            made("daily", bounded, "flights"),
            made("newest", None, reads("daily", "last")),
        )

        assert upstream(world, world.job(job_id("newest")), ["*"]) == {
            job_id("daily"): ANY_PARTITION
        }

    def test_upstream_accepts_ranges(self):
        found = upstream(self.WORLD, self.WORLD.job(job_id("month")), ["2013-02..2013-03"])

        needed = found[job_id("daily")]
        assert needed is not ANY_PARTITION
        assert texts(needed) == "2013-02-01..2013-03-31"

    def test_a_run_reads_mapped_inputs_and_existing_unbounded_partitions(self):
        def existing(dataset):
            texts = {"wide": "2013-01-01..2013-01-02", "flights": "2013-02-01..2013-05-05"}
            return self.WORLD.space(dataset).parse(texts[self.WORLD.dataset(dataset).name])

        found = input_partitions(self.WORLD, self.WORLD.job(job_id("month")), ["2013-02"], existing)

        assert {self.WORLD.dataset(d).name: texts(p) for d, p in found.items()} == {
            "daily": "2013-02-01..2013-02-28",
            "wide": "2013-01-01..2013-01-02",
            "flights": "2013-02-01..2013-02-28 2013-05-05",
        }


WEEK = {"dt": {"from": "dt", "window": [-6, 0]}}
BOUNDED = {"dt": {"time": "day", "start": "2013-02-01"}}


@pytest.mark.parametrize(
    ("mapping", "wait_for", "existing", "keys", "missing"),
    [
        pytest.param(WEEK, "any", None, ["2013-02-10"], None, id="any never holds"),
        pytest.param(
            WEEK, "all", "2013-02-04..2013-02-10", ["2013-02-10"], None, id="all are there"
        ),
        pytest.param(
            WEEK,
            "all",
            "2013-02-05..2013-02-09",
            ["2013-02-10"],
            ["2013-02-04", "2013-02-10"],
            id="all but two",
        ),
        pytest.param(
            WEEK, "all", "2013-02-01..2013-02-03", ["2013-02-03"], None, id="all within bounds"
        ),
        pytest.param(WEEK, 3, "2013-02-08..2013-02-10", ["2013-02-10"], None, id="enough"),
        pytest.param(
            WEEK, AllBut(2), "2013-02-05..2013-02-09", ["2013-02-10"], None, id="two may be missing"
        ),
        pytest.param(
            WEEK,
            AllBut(1),
            "2013-02-05..2013-02-09",
            ["2013-02-10"],
            ["2013-02-04", "2013-02-10"],
            id="more than one is missing",
        ),
        pytest.param(
            WEEK, AllBut(2), None, ["2013-02-02"], None, id="no more than two within bounds"
        ),
        pytest.param("all", AllBut(9), None, ["2013-02-10"], ["*"], id="all but some of no end"),
        pytest.param(
            WEEK,
            3,
            "2013-02-09..2013-02-10",
            ["2013-02-10"],
            ["2013-02-04..2013-02-08"],
            id="too few",
        ),
        pytest.param(
            WEEK, 3, "2013-02-01..2013-02-02", ["2013-02-02"], None, id="no more within bounds"
        ),
        pytest.param(
            WEEK,
            3,
            "2013-02-06..2013-02-10",
            ["2013-02-10", "2013-02-15"],
            ["2013-02-11..2013-02-15"],
            id="each partition counts its own",
        ),
        pytest.param(
            "all", "all", None, ["2013-02-10"], ["*"], id="all of what has no end, and nothing is"
        ),
        pytest.param("all", "all", "2013-02-01", ["2013-02-10"], None, id="all of what has no end"),
        pytest.param("last", "all", "2013-02-01", ["2013-02-10"], None, id="the last one is there"),
    ],
)
def test_a_first_run_is_held_until_enough_of_its_inputs_exist(
    mapping, wait_for, existing, keys, missing
):
    read = reads("flights", mapping, wait_for=wait_for)
    world = lineage(source("flights", BOUNDED), made("out", BOUNDED, read))
    space = world.space(dataset_id("flights"))
    there = lookup_in({dataset_id("flights"): space.parse(existing) if existing else space.empty})

    found = missing_inputs(world, world.job(job_id("out")), keys, there, NOW)

    assert found == (None if missing is None else {"flights": missing})


def test_a_single_run_counts_its_inputs_together():
    read = reads("flights", wait_for=3)
    world = lineage(FLIGHTS, made("out", DAY, read, strategy="Full"))
    there = lookup_in(
        {dataset_id("flights"): world.space(dataset_id("flights")).parse("2013-02-01..2013-02-03")}
    )
    keys = ["2013-02-01..2013-02-02", "2013-02-05..2013-02-09"]

    assert missing_inputs(world, world.job(job_id("out")), keys, there, NOW) == {
        "flights": ["2013-02-05..2013-02-09"]
    }


def test_a_single_run_without_partitions_needs_inputs_of_any_partition():
    world = lineage(
        source("a", {}),
        source("b", ORIGIN),
        made(
            "out",
            TAIL,
            reads("a", "all"),
            reads("b", "all", wait_for="all"),
            strategy="Full",
        ),
    )
    there = lookup_in({dataset_id("b"): world.space(dataset_id("b")).parse("EWR")})

    assert missing_inputs(world, world.job(job_id("out")), [], there, NOW) == {"b": ["JFK", "LGA"]}


def test_each_input_lists_its_missing_partitions():
    world = lineage(
        FLIGHTS,
        source("airports", ORIGIN),
        made(
            "out", DAY, reads("flights", wait_for="all"), reads("airports", "all", wait_for="all")
        ),
    )
    nothing = lookup_in(
        {d: world.space(d).empty for d in (dataset_id("flights"), dataset_id("airports"))}
    )

    assert missing_inputs(world, world.job(job_id("out")), ["2013-02-10"], nothing, NOW) == {
        "flights": ["2013-02-10"],
        "airports": ["*"],
    }
