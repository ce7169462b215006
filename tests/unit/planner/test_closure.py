"""The rules of planning, each by its name."""

import pytest

from engine.errors import InvalidFilter, InvalidPartition, UnknownName
from engine.lineage.columns import ALL_COLUMNS
from engine.planner import MissingState, step_blocks
from tests.support.lineages import (
    DAY,
    MONTH,
    ORIGIN,
    TAIL,
    change,
    dataset_id,
    directly_invalidated,
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
PLANES = source("planes")
BY_ID = {"column": "id", "type": "integer"}


def first_columns(world, found):
    """Dirty columns of the first step, by output."""
    step = found.steps[0]
    return step.dirty_columns(world.job(step.job).outputs)


def test_a_change_of_a_source_triggers_downstream_jobs_in_order():
    world = lineage(
        made("monthly", MONTH, "daily"), made("daily", DAY | ORIGIN, "flights"), FLIGHTS
    )

    found = planned(world, change("flights", "2013-02-27..2013-03-02"))

    assert steps(world, found) == {
        "daily": "dt=2013-02-27..2013-03-02",
        "monthly": "2013-02..2013-03",
    }
    assert list(steps(world, found)) == ["daily", "monthly"]


def test_only_partitions_invalidated_from_outside_must_run():
    world = lineage(
        FLIGHTS,
        made("daily", DAY, "flights"),
        made("joined", DAY, "daily", "weather"),
        source("weather", DAY),
    )

    found = planned(
        world, change("flights", "2013-02-13..2013-02-14"), change("weather", "2013-02-14")
    )

    assert directly_invalidated(world, found) == {
        "daily": "2013-02-13..2013-02-14",
        "joined": "2013-02-14",
    }


def test_the_end_of_a_diamond_is_one_step_after_both_arms():
    world = lineage(
        FLIGHTS,
        made("left", DAY, "flights"),
        made("right", MONTH, "flights"),
        made("bottom", DAY, "left", "right"),
    )

    found = planned(world, change("flights", "2013-02-13"))

    assert [world.job(step.job).name for step in found.steps] == ["left", "right", "bottom"]
    assert texts(found.steps[-1].partitions) == "2013-02-01..2013-02-28"
    assert [via.from_job for via in found.steps[-1].triggers] == [job_id("left"), job_id("right")]


def test_an_invalidated_output_triggers_its_producer_and_its_readers():
    world = lineage(FLIGHTS, made("daily", DAY, "flights"), made("monthly", MONTH, "daily"))

    found = planned(world, change("daily", "2013-02-13", columns="x"))

    assert steps(world, found) == {"daily": "2013-02-13", "monthly": "2013-02"}
    assert directly_invalidated(world, found) == {"daily": "2013-02-13", "monthly": ""}
    assert found.changed_partitions == {}
    assert first_columns(world, found) == {dataset_id("daily"): ALL_COLUMNS}
    assert found.steps[0].triggers[0].mapping is None


def test_a_rewritten_output_triggers_only_its_readers():
    world = lineage(FLIGHTS, made("daily", DAY, "flights"), made("monthly", MONTH, "daily"))

    found = planned(world, change("daily", "2013-02-13", reason="rewritten"))

    assert steps(world, found) == {"monthly": "2013-02"}
    assert directly_invalidated(world, found) == {"monthly": "2013-02"}
    assert texts(found.changed_partitions[dataset_id("daily")]) == "2013-02-13"


def test_a_rewrite_and_a_recomputation_both_reach_the_readers():
    world = lineage(FLIGHTS, made("daily", DAY, "flights"), made("copy", DAY, "daily"))

    found = planned(
        world,
        change("flights", "2013-02-13"),
        change("daily", "2013-02-20", reason="rewritten"),
    )

    assert steps(world, found) == {"daily": "2013-02-13", "copy": "2013-02-13 2013-02-20"}
    assert directly_invalidated(world, found) == {"daily": "2013-02-13", "copy": "2013-02-20"}


def test_changed_partitions_of_sources_are_recorded():
    world = lineage(FLIGHTS)

    found = planned(world, change("flights", "2013-02-13"), change("flights", "2013-02-14"))

    assert {world.dataset(d).name: texts(s) for d, s in found.changed_partitions.items()} == {
        "flights": "2013-02-13..2013-02-14"
    }


class TestColumns:
    def test_a_change_of_unread_columns_is_pruned_with_the_reason(self):
        world = lineage(
            FLIGHTS,
            made("daily", DAY, "flights"),
            columns=["daily.mean <- flights.dep_delay", "daily.* <- flights.origin"],
        )

        found = planned(world, change("flights", "2013-02-13", columns="notes"))

        assert not found.steps
        assert pruned(world, found) == [("flights", "daily", "columns")]
        assert found.pruned[0].detail == (
            "changed columns {notes} are not read; it reads {dep_delay, origin}"
        )

    def test_dirty_columns_propagate_from_job_to_job(self):
        world = lineage(
            FLIGHTS,
            made("a", DAY, "flights"),
            made("b", DAY, "a"),
            made("c", DAY, "a"),
            columns=["a.x <- flights.u", "a.y <- flights.v", "b.z <- a.x", "c.z <- a.y"],
        )

        found = planned(world, change("flights", "2013-02-13", columns="u"))

        assert list(steps(world, found)) == ["a", "b"]
        assert first_columns(world, found) == {dataset_id("a"): frozenset({"x"})}
        assert pruned(world, found) == [("a", "c", "columns")]

    def test_each_output_of_a_job_has_its_own_dirty_columns(self):
        world = lineage(
            FLIGHTS,
            made("a", DAY, "flights", also=["b"]),
            made("of_a", DAY, "a"),
            made("of_b", DAY, "b"),
            columns=["a.x <- flights.u", "b.y <- flights.v"],
        )

        found = planned(world, change("flights", "2013-02-13", columns="v"))

        assert list(steps(world, found)) == ["a", "of_b"]
        assert first_columns(world, found) == {dataset_id("b"): frozenset({"y"})}

    def test_columns_are_dirty_only_in_the_changed_partitions(self):
        world = lineage(FLIGHTS, made("daily", DAY, "flights"), columns=["daily.x <- flights.a"])

        found = planned(
            world,
            change("flights", "2013-02-13", columns="a"),
            change("flights", "2013-02-14", columns="b"),
        )

        assert steps(world, found) == {"daily": "2013-02-13"}
        assert pruned(world, found) == [("flights", "daily", "columns")]

    def test_unknown_columns_reach_every_reader(self):
        world = lineage(FLIGHTS, made("daily", DAY, "flights"), columns=["daily.x <- flights.u"])

        assert steps(world, planned(world, change("flights", "2013-02-13")))


class TestRows:
    WORLD = lineage(
        FLIGHTS,
        made(
            "daily",
            DAY | ORIGIN,
            reads("flights", preserved_columns={"from": ["origin"]}),
        ),
        made("by_origin", ORIGIN, reads("daily", preserved_columns={"origin": ["airport"]})),
    )

    def test_a_condition_on_a_partition_column_narrows_to_partitions(self):
        found = planned(
            self.WORLD,
            change("flights", "2013-02-13..2013-02-20", row_filter={"day": {"gte": "2013-02-19"}}),
        )

        assert steps(self.WORLD, found)["daily"] == "dt=2013-02-19..2013-02-20"

    def test_a_condition_propagates_along_a_preserved_column(self):
        found = planned(self.WORLD, change("flights", "2013-02-13", row_filter={"from": "JFK"}))

        assert steps(self.WORLD, found) == {"daily": "dt=2013-02-13/origin=JFK", "by_origin": "JFK"}

    def test_a_condition_on_another_column_is_dropped(self):
        found = planned(self.WORLD, change("flights", "2013-02-13", row_filter={"delay": 7}))

        assert steps(self.WORLD, found) == {"daily": "dt=2013-02-13", "by_origin": "*"}

    def test_rows_outside_of_every_partition_are_pruned(self):
        found = planned(self.WORLD, change("flights", "2013-02-13", row_filter={"from": "SFO"}))

        assert pruned(self.WORLD, found) == [("flights", "daily", "rows")]

    def test_a_scope_without_partitions_is_pruned(self):
        found = planned(
            self.WORLD, change("flights", "2013-02-13", row_filter={"day": "2014-01-01"})
        )

        assert pruned(self.WORLD, found) == [("flights", None, "partitions")]
        assert found.changed_partitions == {}


class TestStrategies:
    def follower(self):
        return lineage(
            source("events"),
            PLANES,
            made(
                "log",
                {},
                reads("events", cursor=BY_ID),
                "planes",
                strategy="PerUpdate",
            ),
            made("copy", {}, "log"),
        )

    def test_a_full_job_is_a_single_run_of_all_bounded_partitions(self):
        world = lineage(
            source("f", ORIGIN), made("g", ORIGIN, "f", strategy="Full"), made("h", ORIGIN, "g")
        )

        found = planned(world, change("f", "JFK"))

        assert steps(world, found) == {"g": "*", "h": "*"}
        assert directly_invalidated(world, found) == {"g": "*", "h": ""}

    def test_full_without_finite_bounds_builds_existing_and_triggered_partitions(self):
        world = lineage(FLIGHTS, made("all", DAY, "flights", strategy="Full"))

        found = planned(
            world, change("flights", "2013-02-13"), existing={"all": "2013-02-01 2013-02-02"}
        )

        assert steps(world, found) == {"all": "2013-02-01..2013-02-02 2013-02-13"}

    def test_a_single_run_without_existing_partitions_runs_only_if_triggered(self):
        world = lineage(
            FLIGHTS,
            PLANES,
            made("all", DAY, "planes", strategy="Full"),
            made("latest", {}, reads("flights", "last"), strategy="Full"),
        )
        existing = {"all": None, "planes": None, "flights": "2013-02-13..2013-02-14"}

        found = planned(
            world, change("planes", "*"), change("flights", "2013-02-13"), existing=existing
        )

        assert steps(world, found) == {"all": ""}
        needs = step_blocks(found.steps[0], world.job(found.steps[0].job))
        assert list(needs) == [("*", (), True)]
        assert pruned(world, found) == [("flights", "latest", "partitions")]

    @pytest.mark.parametrize(
        ("bounds", "built"),
        [({"start": "2013-01-01", "end": "2013-01-03"}, "*"), ({}, None)],
    )
    def test_a_single_run_has_all_bounded_partitions_if_any_input_exists(self, bounds, built):
        """Without bounds no keys can be found if the input that determines them is empty."""
        day = {"dt": DAY["dt"] | bounds}
        world = lineage(
            source("f", day),
            source("g", ORIGIN),
            made("a", ORIGIN, "g"),
            made("all", day, "f", reads("a", "all"), strategy="Full"),
        )
        existing = {"all": None, "f": None, "a": "JFK"}

        found = planned(world, change("all", reason="manual"), existing=existing)

        assert steps(world, found) == ({"all": built} if built else {})

    @pytest.mark.parametrize("strategy", ["Full", "PerPartition"])
    def test_all_columns_of_a_new_partition_are_dirty(self, strategy):
        """A downstream task may be waiting already, with no other trigger for the new partition."""
        world = lineage(
            source("events"),
            made(
                "tails",
                TAIL,
                reads("events", "all", preserved_columns={"n": ["tail"]}),
                strategy=strategy,
            ),
            made("names", TAIL, "tails"),
            columns=["tails.delay <- events.delay", "names.name <- tails.name"],
        )
        late = change("events", columns="delay", row_filter={"n": "N1"})

        found = planned(world, late, existing={"tails": None, "events": "*"})
        assert steps(world, found) == {"tails": "N1", "names": "N1"}
        assert first_columns(world, found) == {dataset_id("tails"): ALL_COLUMNS}

        other = change("events", columns="delay", row_filter={"n": "N2"})
        both = planned(world, late, other, existing={"tails": None, "events": "*"})
        assert steps(world, both) == {"tails": "N1 N2", "names": "N1 N2"}

        again = planned(world, late, existing={"tails": "N1"})
        assert steps(world, again) == {"tails": "N1"}
        assert pruned(world, again) == [("tails", "names", "columns")]

    def test_per_update_has_the_row_filters_of_its_followed_input(self):
        world = self.follower()

        found = planned(
            world,
            change("events", row_filter={"id": 7}),
            change("events", row_filter={"id": {"lt": 3}}),
        )

        assert found.steps[0].row_filters == ({"id": 7}, {"id": {"lt": 3}})
        assert found.steps[1].row_filters == ()
        assert steps(world, found) == {"log": "*", "copy": "*"}

    @pytest.mark.parametrize(
        "other",
        [
            pytest.param(change("events"), id="all rows of it"),
            pytest.param(
                change("planes", row_filter={"id": 9}), id="rows of what it does not follow"
            ),
            pytest.param(change("log", "*", row_filter={"id": 9}), id="rows of its own output"),
        ],
    )
    def test_per_update_reads_all_rows_if_any_trigger_does(self, other):
        found = planned(self.follower(), change("events", row_filter={"id": 7}), other)

        assert found.steps[0].row_filters == (None,)

    def test_per_update_reads_the_new_rows_of_an_arrival(self):
        grown = planned(self.follower(), change("events", reason="arrival"))
        assert grown.steps[0].row_filters == ({},)

        both = change("events", reason="arrival"), change("events", row_filter={"id": 7})
        assert planned(self.follower(), *both).steps[0].row_filters == ({}, {"id": 7})

    def test_per_update_reads_all_rows_of_an_arrival_whose_conditions_are_dropped(self):
        dropped = change("events", reason="arrival", row_filter={})
        assert planned(self.follower(), dropped).steps[0].row_filters == (None,)

        changed = change("events", reason="arrival", columns="id", row_filter={"id": 7})
        assert planned(self.follower(), changed).steps[0].row_filters == (None,)

    def test_the_output_of_a_run_on_new_rows_is_expected_to_grow(self):
        world = lineage(
            source("events"),
            PLANES,
            made("log", {}, reads("events", cursor=BY_ID), "planes", strategy="PerUpdate"),
            made("next", {}, reads("log", cursor=BY_ID), strategy="PerUpdate"),
        )
        new = change("events", reason="arrival")

        def read(*changes):
            return [step.row_filters for step in planned(world, *changes).steps]

        assert read(new) == [({},), ({},)]
        assert read(change("planes", reason="arrival")) == [(None,), (None,)]
        assert read(new, change("events", reason="arrival", row_filter={"id": 7})) == [
            ({}, {"id": 7}),
            (None,),
        ]

    def test_a_manual_job_and_its_readers_are_not_triggered(self):
        world = lineage(
            FLIGHTS, made("m", DAY, "flights", activation="manual"), made("n", DAY, "m")
        )

        found = planned(world, change("flights", "2013-02-13"))

        assert not found.steps
        assert pruned(world, found) == [("flights", "m", "manual")]

    def test_a_manual_job_runs_when_its_own_output_is_invalidated(self):
        world = lineage(
            FLIGHTS, made("m", DAY, "flights", activation="manual"), made("n", DAY, "m")
        )

        found = planned(world, change("m", "2013-02-13"))

        assert steps(world, found) == {"m": "2013-02-13", "n": "2013-02-13"}


class TestExtent:
    """Unbounded scopes are limited to the extent of the dataset."""

    def test_an_input_that_determines_no_day_triggers_every_existing_day(self):
        world = lineage(PLANES, made("daily", DAY, "planes"), made("copy", DAY, "daily"))

        found = planned(world, change("planes", "*"), existing={"daily": "2013-02-01..2013-02-03"})

        assert steps(world, found) == {
            "daily": "2013-02-01..2013-02-03",
            "copy": "2013-02-01..2013-02-03",
        }

    def test_an_unbuilt_output_extends_as_far_as_its_inputs(self):
        world = lineage(FLIGHTS, PLANES, made("a", DAY, "flights"), made("b", MONTH, "a", "planes"))

        found = planned(
            world,
            change("planes", "*"),
            existing={"b": None, "a": None, "flights": "2013-01-30..2013-02-02"},
        )

        assert steps(world, found) == {"b": "2013-01..2013-02"}

    def test_the_first_event_of_an_undetermined_input_builds_all_bounded_partitions(self):
        bounded = {"dt": {"time": "day", "start": "2013-02-01", "end": "2013-02-04"}}
        world = lineage(
            PLANES,
            FLIGHTS,
            made("alone", bounded, "planes"),
            made("endless", DAY, "planes"),
            made("joined", bounded, "planes", "flights"),
        )

        found = planned(
            world,
            change("planes", "*"),
            existing=dict.fromkeys(["planes", "flights", "alone", "endless", "joined"]),
        )

        assert steps(world, found) == {"alone": "*"}

    def test_all_static_keys_and_existing_dynamic_keys_are_triggered(self):
        world = lineage(
            FLIGHTS,
            made("static", DAY | ORIGIN, "flights"),
            made("dynamic", DAY | TAIL, "flights"),
        )

        found = planned(
            world,
            change("flights", "2013-02-13"),
            existing={"dynamic": "dt=2013-01-01/tail=N1 dt=2013-01-02/tail=N2"},
        )

        assert steps(world, found) == {
            "static": "dt=2013-02-13",
            "dynamic": "dt=2013-02-13/tail=N1 dt=2013-02-13/tail=N2",
        }

    def test_two_changes_over_unmapped_dimensions_combine_as_in_two_plans(self):
        world = lineage(
            FLIGHTS, source("tails", TAIL), made("both", DAY | TAIL, "flights", "tails")
        )
        existing = {"both": "dt=2013-02-01/tail=N1"}

        found = planned(
            world, change("flights", "2013-02-02"), change("tails", "N2"), existing=existing
        )

        assert set(world.space(dataset_id("both")).keys(found.steps[0].partitions)) == {
            "dt=2013-02-02/tail=N1",
            "dt=2013-02-01/tail=N2",
            "dt=2013-02-02/tail=N2",
        }

    def test_a_new_partition_counts_as_existing_for_unmapped_inputs(self):
        world = lineage(FLIGHTS, PLANES, made("daily", DAY, "planes", "flights"))

        found = planned(
            world,
            change("planes", "*"),
            change("flights", "2013-02-02"),
            existing={"daily": "2013-02-01"},
        )

        assert steps(world, found) == {"daily": "2013-02-01..2013-02-02"}

    def test_a_whole_dataset_means_its_existing_partitions(self):
        world = lineage(FLIGHTS, made("daily", DAY, "flights"))

        existing = {"flights": "2013-02-01 2013-02-05", "daily": None}
        found = planned(world, change("flights"), existing=existing)

        assert steps(world, found) == {"daily": "2013-02-01 2013-02-05"}

    @pytest.mark.parametrize("partitions", [None, "2013-02-01.."])
    def test_outputs_of_source_partitions_that_no_event_has_named_are_in_scope(self, partitions):
        """A join may have read a day of its other input before the first event about that day."""
        world = lineage(FLIGHTS, made("daily", DAY, "flights"), made("monthly", MONTH, "daily"))
        existing = {"flights": "2013-02-01", "daily": "2013-01-31 2013-02-01 2013-02-05"}

        found = planned(world, change("flights", partitions), existing=existing)

        first = "2013-02-01" if partitions else "2013-01-31..2013-02-01"
        assert steps(world, found)["daily"] == f"{first} 2013-02-05"

    def test_a_whole_empty_source_means_its_bounded_partitions(self):
        world = lineage(source("airports", ORIGIN), FLIGHTS)

        found = planned(
            world,
            change("airports"),
            change("flights"),
            existing={"airports": None, "flights": None},
        )

        assert {world.dataset(d).name: texts(s) for d, s in found.changed_partitions.items()} == {
            "airports": "*"
        }
        assert pruned(world, found) == [("flights", None, "partitions")]

    def test_a_whole_unbuilt_output_means_the_partitions_of_its_inputs(self):
        bounded = {"dt": {"time": "day", "start": "2013-02-01", "end": "2013-02-04"}}
        world = lineage(
            FLIGHTS, PLANES, made("daily", DAY, "flights"), made("bounded", bounded, "planes")
        )
        existing = {"daily": None, "flights": "2013-02-01..2013-02-03", "bounded": None}

        found = planned(
            world, change("daily"), change("bounded"), existing=existing | {"planes": "*"}
        )
        nothing = planned(
            world, change("daily"), change("bounded"), existing=dict.fromkeys([*existing, "planes"])
        )

        assert steps(world, found) == {"daily": "2013-02-01..2013-02-03", "bounded": "*"}
        assert not nothing.steps

    def test_an_open_range_ends_at_the_last_existing_partition(self):
        world = lineage(FLIGHTS, made("daily", DAY, "flights"))

        existing = {"flights": "2013-02-01..2013-02-05", "daily": None}
        found = planned(world, change("flights", "2013-02-02.."), existing=existing)

        assert steps(world, found) == {"daily": "2013-02-02..2013-02-05"}

    def test_only_a_change_of_the_last_partition_triggers_its_reader(self):
        world = lineage(FLIGHTS, made("latest", {}, reads("flights", "last")))
        existing = {"flights": "2013-02-01..2013-02-05"}

        assert steps(world, planned(world, change("flights", "2013-02-05"), existing=existing))
        assert steps(world, planned(world, change("flights", "2013-02-06"), existing=existing))
        old = planned(world, change("flights", "2013-02-04"), existing=existing)
        assert pruned(world, old) == [("flights", "latest", "partitions")]


class TestKnown:
    def test_no_state_is_requested_without_unmapped_dimensions(self):
        world = lineage(FLIGHTS, made("daily", DAY, "flights"), made("monthly", MONTH, "daily"))

        assert planned(world, change("flights", "2013-02-13")).steps

    def test_all_missing_state_of_a_pass_is_requested_together(self):
        world = lineage(PLANES, *(made(f"daily{n}", DAY, "planes") for n in range(3)))

        with pytest.raises(MissingState) as needed:
            planned(world, change("planes", "*"))

        assert needed.value.datasets == {dataset_id(f"daily{n}") for n in range(3)}

    def test_an_unbuilt_output_requests_the_state_of_its_inputs(self):
        world = lineage(FLIGHTS, PLANES, made("daily", DAY, "flights", "planes"))

        with pytest.raises(MissingState) as needed:
            planned(world, change("planes", "*"), existing={"daily": None})

        assert needed.value.datasets == {dataset_id("flights")}


class TestInvalidations:
    def test_each_invalidation_lists_the_jobs_it_affects(self):
        world = lineage(
            FLIGHTS,
            source("weather", DAY),
            made("a", DAY, "flights"),
            made("b", DAY, "a", "weather"),
        )
        flights, weather = (
            change("flights", "2013-02-13"),
            change("weather", "2013-03-13", columns="x"),
        )
        idle = change("weather", "2013-02-13", row_filter={"day": "2014-01-01"})

        found = planned(world, flights, weather, idle)

        assert found.invalidations == {
            flights.id: {job_id("a"), job_id("b")},
            weather.id: {job_id("b")},
            idle.id: frozenset(),
        }

    def test_a_resumed_plan_skips_jobs_that_have_tasks(self):
        world = lineage(FLIGHTS, made("a", DAY, "flights"), made("b", DAY, "a"))
        resumed = change("flights", "2013-02-13", processed_by=frozenset({job_id("a")}))

        found = planned(world, resumed)

        assert steps(world, found) == {"b": "2013-02-13"}
        assert found.invalidations == {resumed.id: {job_id("a"), job_id("b")}}

    def test_a_job_processed_for_some_invalidations_has_a_step(self):
        world = lineage(FLIGHTS, made("a", DAY, "flights"))
        resumed = change("flights", "2013-02-13", processed_by=frozenset({job_id("a")}))

        assert planned(world, resumed, change("flights", "2013-02-14")).steps

    def test_many_scopes_are_widened_into_one(self):
        world = lineage(
            source("events"),
            made("log", {}, reads("events", cursor={"column": "id"}), strategy="PerUpdate"),
        )
        changes = [change("events", row_filter={"id": n}) for n in range(17)]

        assert len(planned(world, *changes[:16]).steps[0].row_filters) == 16
        widened = planned(world, *changes)
        assert widened.steps[0].row_filters == (None,)
        assert widened.invalidation_ids(widened.steps[0].triggers[0].dirty.invalidations) == tuple(
            each.id for each in changes
        )

    def test_scopes_widened_with_a_change_found_by_a_run_still_change_their_partitions(self):
        world = lineage(FLIGHTS, made("daily", DAY, "flights"), made("b", DAY, "daily"))
        by_hand = [
            change("daily", "2013-02-13", reason="rewritten", columns=f"c{n}") for n in range(16)
        ]

        found = planned(world, *by_hand, change("daily", "2013-02-14", reason="found"))

        assert "2013-02-13" in texts(found.changed_partitions[dataset_id("daily")])

    @pytest.mark.parametrize(
        ("wrong", "error"),
        [
            (change("flights", "someday"), InvalidPartition),
            (change("flights", "2013-02-13", row_filter={"x": None}), InvalidFilter),
            (change("nowhere"), UnknownName),
        ],
    )
    def test_a_scope_invalid_for_the_dataset_is_rejected(self, wrong, error):
        with pytest.raises(error):
            planned(lineage(FLIGHTS), wrong)
