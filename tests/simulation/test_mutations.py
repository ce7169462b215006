"""The checker checked: break the engine on purpose, and the simulator has to say so."""

from collections.abc import Iterator

import psycopg
import pytest

from engine.store.database import Database
from tests.simulation.invariants import Broken
from tests.simulation.mutations import MUTATIONS
from tests.simulation.trial import Trial
from tests.support.databases import fresh_database

WORLDS = 120

CAUGHT_BY = {
    "the_last_event_of_a_batch_is_lost": 0,
    "coalescing_takes_the_columns_of_the_first": 7,
    "a_position_is_not_compared": 0,
    "a_position_moves_without_its_facts": 7,
    "an_edge_is_not_followed": 1,
    "a_plan_says_done_before_it_is": 2,
    "a_column_that_shapes_every_other_is_pruned": 3,
    "unknown_columns_reach_nothing": 1,
    "columns_are_not_looked_at": 1,
    "what_nobody_has_spoken_of_is_new_in_some_columns_only": 55,
    "a_row_filter_narrows_to_nothing": 2,
    "a_row_filter_on_partitions_is_not_looked_at": 49,
    "a_row_filter_goes_through_jobs_that_do_not_keep_rows_apart": 60,
    "a_row_filter_is_taken_for_another_group": 1,
    "a_row_filter_stops_at_the_first_job": 1,
    "a_window_goes_one_short_on_its_way_down": 15,
    "a_window_goes_one_short_on_its_way_up": 72,
    "a_window_goes_one_too_far_on_its_way_down": 19,
    "the_first_partition_counts_for_the_last": 209,
    "one_partition_of_several_is_recomputed": 3,
    "a_running_task_is_joined": 7,
    "nobody_is_joined": 1,
    "a_dependency_is_forgotten": 5,
    "what_other_plans_are_making_is_not_waited_for": 100,
    "two_run_at_once": 1,
    "a_cap_is_not_looked_at": 4,
    "a_stale_token_is_accepted": 15,
    "a_reaped_lease_is_still_good": 0,
    "an_unchanged_result_counts_as_changed": 0,
    "a_changed_result_counts_as_unchanged": 0,
    "a_stamp_moves_back": 0,
    "an_unchanged_stamp_is_bumped": 0,
    "all_columns_of_a_changed_partition_count_as_changed": 63,
    "a_column_that_changed_keeps_its_stamp": 0,
    "a_cursor_moves_back": 42,
    "a_cursor_moves_too_far": 15,
    "rows_behind_the_cursor_are_not_read_again": 1,
    "partitions_that_a_run_found_are_not_told_of": 46,
    "what_did_change_is_skipped": 0,
    "a_skip_does_not_look_at_stamps": 12,
    "nothing_is_ever_skipped": 0,
    "one_of_several_in_front_is_enough": 3,
    "a_failed_task_releases_what_waits_behind_it": 152,
    "wait_for_is_ignored": 37,
    "a_first_run_waits_for_ever": 4,
    "a_task_that_gave_up_counts_as_done": 5,
    "a_lost_lease_is_never_noticed": 7,
    "a_deploy_builds_nothing": 7,
    "a_deploy_forgets_work_in_hand": 93,
    "a_source_elsewhere_is_told_of_in_its_own_dag_only": 7517,
    "a_source_that_reaches_further_is_forgotten": 6,
    "a_deploy_leaves_the_tasks_of_old_jobs": 3,
}
"""By mutation, a seed whose world notices. Where that has come to be another, others are tried."""


@pytest.fixture(scope="module")
def shared_url(postgres_url: str, template: str) -> Iterator[str]:
    """A database for all mutations: each world has an org of its own."""
    with fresh_database(postgres_url, template) as url:
        yield url


@pytest.mark.parametrize("name", MUTATIONS)
def test_a_mutation_still_finds_what_it_changes(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    MUTATIONS[name](monkeypatch)


@pytest.mark.timeout(600)
@pytest.mark.parametrize("name", CAUGHT_BY)
async def test_a_broken_engine_is_caught(
    shared_url: str, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    MUTATIONS[name](monkeypatch)
    async with await Database.open(shared_url) as database:
        for seed in (CAUGHT_BY[name], *range(WORLDS)):
            trial = await Trial.of(seed).run(database)
            if trial.failure is not None:
                assert isinstance(trial.failure, (Broken, psycopg.errors.UniqueViolation))
                print(f"caught by {seed}: {trial.failure!s:.200}")
                return
    raise AssertionError(f"{WORLDS} worlds did not notice")


@pytest.mark.timeout(600)
async def test_an_engine_that_is_whole_passes_the_same_worlds(shared_url: str) -> None:
    async with await Database.open(shared_url) as database:
        for seed in sorted({*CAUGHT_BY.values()}):
            trial = await Trial.of(seed).run(database)
            assert trial.failure is None, f"make simulate SEED={seed}"
