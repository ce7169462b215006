"""The checker checked: break the engine on purpose, and the simulator has to say so."""

from collections.abc import Iterator

import pytest

from engine.store.database import Database
from tests.simulation.mutations import MUTATIONS
from tests.simulation.trial import Trial
from tests.support.databases import fresh_database

WORLDS = 120

CAUGHT_BY = {
    "columns_of_a_source_come_and_go_unnoticed": 61,
    "the_last_event_of_a_batch_is_lost": 0,
    "an_edge_is_not_followed": 0,
    "a_plan_says_done_before_it_is": 0,
    "unknown_columns_reach_nothing": 0,
    "columns_are_not_looked_at": 0,
    "a_row_filter_narrows_to_nothing": 3,
    "a_row_filter_goes_through_jobs_that_do_not_keep_rows_apart": 12,
    "a_window_goes_one_short_on_its_way_down": 2,
    "a_running_task_is_joined": 4,
    "nobody_is_joined": 2,
    "a_dependency_is_forgotten": 0,
    "a_cap_is_not_looked_at": 0,
    "an_unchanged_result_counts_as_changed": 2,
    "a_changed_result_counts_as_unchanged": 0,
    "a_content_version_moves_back": 0,
    "an_unchanged_version_is_bumped": 2,
    "a_column_that_changed_keeps_its_version": 0,
    "what_did_change_is_skipped": 0,
    "nothing_is_ever_skipped": 2,
    "one_of_several_blockers_is_enough": 2,
    "wait_for_is_ignored": 2,
    "a_first_run_waits_for_ever": 2,
    "a_task_that_gave_up_counts_as_done": 12,
    "a_lost_lease_is_never_noticed": 1,
    "late_carry_over_is_lost": 37,
    "marking_a_partition_keeps_its_fingerprint": 59,
    "a_join_drops_row_filters": 23,
    "first_outputs_of_narrow_plans_do_not_invalidate_their_readers": 9,
    "ingest_drops_columns_and_rows": 0,
    "rows_behind_the_cursor_are_not_read_again": 6,
    "a_position_is_not_compared": 2,
    "what_a_run_does_not_report_is_taken_for_unwritten": 5,
    "a_column_that_shapes_every_other_is_pruned": 6,
    "a_skip_does_not_compare_versions": 6,
    "ingest_widens_everything": 0,
    "a_source_that_reaches_further_is_forgotten": 10,
    "inputs_are_recorded_as_of_completion": 7,
    "cancel_does_not_mark_partitions_unverified": 7,
    "a_hand_over_drops_dependents": 5,
    "cursors_survive_a_changed_job": 41,
    "a_failed_task_is_joined_but_not_marked_as_hit": 85,
    "a_failed_task_unblocks_its_dependents": 29,
    "a_hand_over_drops_row_filters": 25,
    "a_single_run_propagates_the_columns_of_its_first_trigger": 89,
    "a_window_is_not_mirrored_on_its_way_down": 0,
    "a_second_change_of_a_dataset_in_one_plan_is_lost": 33,
    "a_block_must_run_only_if_all_its_partitions_must": 45,
    "a_joined_task_counts_as_propagated_in_all_columns": 47,
    "a_block_propagates_the_scopes_of_its_first_partition": 49,
    "every_task_of_a_step_is_reached_over_every_edge": 51,
    "a_scope_that_was_never_compared_counts_as_compared_last": 15,
    "a_set_covers_what_it_overlaps": 55,
    "partitions_about_to_be_made_are_not_known": 57,
}
"""By mutation, a seed whose world notices. Where that has come to be another, others are tried.

The other mutations take longer: `make mutations` looks for all of them from the first seed on.
"""


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
                assert trial.breaks_a_law, repr(trial.failure)
                print(f"caught by {seed}: {trial.failure!s:.200}")
                return
    raise AssertionError(f"{WORLDS} worlds did not notice")


@pytest.mark.timeout(600)
async def test_an_engine_that_is_whole_passes_the_same_worlds(shared_url: str) -> None:
    async with await Database.open(shared_url) as database:
        for seed in sorted({*CAUGHT_BY.values()}):
            trial = await Trial.of(seed).run(database)
            assert trial.failure is None, f"make simulate SEED={seed}"
