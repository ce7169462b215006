"""Plans leave out the partitions that are not in being yet."""

from datetime import UTC, datetime

import pytest

from engine.planner import expected_partitions, lookup_in, missing_inputs
from tests.support.lineages import (
    DAY,
    MONTH,
    ORIGIN,
    change,
    dataset_id,
    job_id,
    lineage,
    made,
    planned,
    pruned,
    reads,
    source,
    steps,
    texts,
)

FLIGHTS = source("flights", DAY)
NOON = datetime(2013, 2, 13, 12, tzinfo=UTC)
TRAILING = {"dt": {"from": "dt", "window": [-6, 0]}}
NEW_YORK = {"dt": {"time": "day", "zone": "America/New_York"}}
BOUNDED = {"dt": {"time": "day", "start": "2013-02-01", "end": "2100-01-01"}}


def of(world, changed, now=NOON, **existing):
    return steps(world, planned(world, changed, existing=existing, now=now))


def trailing(**more):
    return made("trailing", DAY, reads("flights", TRAILING), **more)


def existing(world, **partitions):
    return lookup_in(
        {
            dataset_id(name): world.space(dataset_id(name)).from_keys(text.split() if text else [])
            for name, text in partitions.items()
        }
    )


NOTHING = {"flights": "2013-02-13", "trailing": None}


class TestStart:
    def test_a_trailing_week_is_built_up_to_today(self):
        world = lineage(FLIGHTS, trailing())

        assert of(world, change("flights", "2013-02-13"), **NOTHING) == {"trailing": "2013-02-13"}
        assert of(world, change("flights", "2013-02-08"), **NOTHING) == {
            "trailing": "2013-02-08..2013-02-13"
        }

    def test_the_past_needs_no_partitions_of_the_inputs(self):
        world = lineage(FLIGHTS, trailing())

        assert of(world, change("flights", "2013-02-01")) == {"trailing": "2013-02-01..2013-02-07"}

    def test_a_window_begins_with_its_first_second(self):
        world = lineage(FLIGHTS, trailing())
        midnight = datetime(2013, 2, 14, tzinfo=UTC)

        found = of(world, change("flights", "2013-02-13"), now=midnight, **NOTHING)

        assert found == {"trailing": "2013-02-13..2013-02-14"}

    def test_an_existing_partition_is_recomputed(self):
        world = lineage(FLIGHTS, trailing())

        found = of(
            world, change("flights", "2013-02-13"), flights="2013-02-13", trailing="2013-02-18"
        )

        assert found == {"trailing": "2013-02-13 2013-02-18"}

    def test_a_forecast_brings_its_own_partition_into_being(self):
        world = lineage(FLIGHTS, trailing())

        found = of(world, change("flights", "2013-02-20"), **NOTHING)

        assert found == {"trailing": "2013-02-20"}

    def test_a_forecast_of_an_hour_brings_its_month_into_being(self):
        hours = {"dt": {"time": "hour"}}
        world = lineage(source("flights", hours), made("monthly", MONTH, "flights"))

        found = of(world, change("flights", "2013-04-20T05"), flights=None, monthly=None)

        assert found == {"monthly": "2013-04"}

    def test_a_month_brings_no_day_into_being(self):
        world = lineage(source("flights", MONTH), made("daily", DAY, "flights"))

        found = of(world, change("flights", "2013-02"), flights=None, daily=None)

        assert found == {"daily": "2013-02-01..2013-02-13"}

    def test_a_forecast_reached_by_an_offset_only_is_not_enough(self):
        yesterday = {"dt": {"from": "dt", "window": [-1, -1]}}
        world = lineage(FLIGHTS, made("late", DAY, reads("flights", yesterday)))

        found = planned(
            world,
            change("flights", "2013-02-20"),
            existing={"flights": None, "late": None},
            now=NOON,
        )

        assert steps(world, found) == {}
        assert pruned(world, found) == [("flights", "late", "partitions")]
        assert found.pruned[0].detail == "2013-02-21 is still to come"

    def test_a_day_begins_in_its_zone(self):
        world = lineage(FLIGHTS, made("local", NEW_YORK, "flights"))
        early = datetime(2013, 2, 13, 4, tzinfo=UTC)  # still the 12th in New York

        found = of(world, change("flights", "2013-02-13"), now=early, flights=None, local=None)

        assert found == {"local": "2013-02-12"}

    def test_a_day_that_the_clock_shortens_begins_at_its_midnight(self):
        hours = {"dt": {"time": "hour", "zone": "America/New_York"}}
        world = lineage(source("flights", NEW_YORK), made("hourly", hours, "flights"))
        changed = change("flights", "2013-03-10")
        skipped = datetime(2013, 3, 10, 7, tzinfo=UTC)  # 02:00 becomes 03:00

        found = of(world, changed, now=skipped, flights=None, hourly=None)

        assert found == {"hourly": "2013-03-10T00..2013-03-10T03"}

    def test_other_dimensions_are_kept(self):
        both = DAY | ORIGIN
        mapping = {**TRAILING, "origin": "origin"}
        world = lineage(source("flights", both), made("trailing", both, reads("flights", mapping)))
        changed = change("flights", "dt=2013-02-12/origin=JFK")

        found = of(world, changed, flights=None, trailing=None)

        assert found == {"trailing": "dt=2013-02-12..2013-02-13/origin=JFK"}


class TestOtherTimes:
    @pytest.mark.parametrize(
        ("appears", "hours", "built"),
        [
            (0, 23, "2013-02-12"),
            (0, 24, "2013-02-12..2013-02-13"),
            (6 * 3600, 29, "2013-02-12"),
            (6 * 3600, 30, "2013-02-12..2013-02-13"),
            ("always", 0, "2013-02-12..2013-02-18"),
        ],
    )
    def test_partitions_appear_after_their_end_or_at_any_time(self, appears, hours, built):
        world = lineage(FLIGHTS, trailing(appears=appears))
        now = datetime(2013, 2, 13 + hours // 24, hours % 24, tzinfo=UTC)

        found = of(world, change("flights", "2013-02-12"), now=now, **NOTHING)

        assert found == {"trailing": built}

    def test_a_partition_that_appears_at_its_end_is_not_built_early(self):
        world = lineage(FLIGHTS, trailing(appears=0))

        assert of(world, change("flights", "2013-02-20"), **NOTHING) == {}


class TestWholeDatasets:
    def test_a_bounded_grid_is_built_up_to_today(self):
        world = lineage(source("planes"), made("daily", BOUNDED, "planes"))

        found = of(world, change("planes"), planes="*", daily=None)

        assert found == {"daily": "2013-02-01..2013-02-13"}

    def test_a_single_run_builds_a_bounded_grid_up_to_today(self):
        world = lineage(source("planes"), made("daily", BOUNDED, "planes", strategy="Full"))

        assert of(world, change("planes"), planes="*", daily=None) == {
            "daily": "2013-02-01..2013-02-13"
        }

    def test_a_first_build_ends_today_all_the_way_down(self):
        world = lineage(
            source("planes"), made("daily", BOUNDED, "planes"), made("monthly", MONTH, "daily")
        )
        wrong = [change(name, reason="definition_change") for name in ("daily", "monthly")]
        unbuilt = {"planes": "*", "daily": None, "monthly": None}

        found = planned(world, *wrong, existing=unbuilt, now=NOON)

        assert steps(world, found) == {"daily": "2013-02-01..2013-02-13", "monthly": "2013-02"}

    def test_a_request_for_a_partition_to_come_builds_nothing(self):
        world = lineage(FLIGHTS, trailing())
        request = change("trailing", "2013-02-20", reason="manual")

        found = planned(world, request, existing=NOTHING, now=NOON)

        assert steps(world, found) == {}
        assert pruned(world, found) == [("trailing", "trailing", "partitions")]

    def test_partitions_that_have_appeared_run_if_stale(self):
        world = lineage(FLIGHTS, trailing())
        appeared = change("trailing", "2013-02-13", reason="appeared")

        (step,) = planned(world, appeared, existing=NOTHING, now=NOON).steps

        assert texts(step.if_stale) == "2013-02-13"
        assert not step.directly_invalidated


class TestFirstRuns:
    def test_partitions_to_come_are_not_expected(self):
        world = lineage(FLIGHTS, trailing())
        known = existing(world, flights="2013-02-11 2013-02-20", trailing=None)

        found = expected_partitions(world, world.job(job_id("trailing")), known, NOON)

        assert texts(found) == "2013-02-11..2013-02-13 2013-02-20"

    def test_a_produced_input_to_come_is_not_missing(self):
        monthly = made("monthly", MONTH, reads("daily", wait_for="all"))
        world = lineage(FLIGHTS, made("daily", DAY, "flights"), monthly)
        job = world.job(job_id("monthly"))
        built = existing(world, flights="2013-02-01", daily="2013-02-01..2013-02-12")

        assert missing_inputs(world, job, ["2013-02"], built, NOON) == {"daily": ["2013-02-13"]}

    def test_a_source_is_missing_even_if_it_is_to_come(self):
        world = lineage(FLIGHTS, made("monthly", MONTH, reads("flights", wait_for="all")))
        built = existing(world, flights="2013-02-01..2013-02-13")

        found = missing_inputs(world, world.job(job_id("monthly")), ["2013-02"], built, NOON)

        assert found == {"flights": ["2013-02-14..2013-02-28"]}
