"""Test of the simulator itself: it must detect deliberate faults in the engine."""

from collections.abc import Iterator

import pytest

from engine.store.database import Database
from tests.simulation.mutations import MUTATIONS
from tests.simulation.trial import Trial
from tests.support.databases import fresh_database

KINDS = 40
"""Number of consecutive seeds after which the kinds of trials repeat, see `Trial.of`."""

CAUGHT_BY = {
    "changed_columns_of_a_source_rebuild_no_reader": 61,
    "the_last_event_of_a_batch_is_lost": 0,
    "an_edge_is_not_followed": 0,
    "a_plan_executes_only_part_of_its_steps": 1,
    "unknown_columns_reach_nothing": 0,
    "columns_are_ignored": 0,
    "a_row_filter_narrows_to_nothing": 3,
    "a_row_filter_propagates_through_jobs_mixing_rows": 79,
    "a_window_is_one_short_downstream": 2,
    "a_running_task_is_joined": 4,
    "no_task_is_joined": 2,
    "a_dependency_is_dropped": 0,
    "a_concurrency_limit_is_ignored": 0,
    "an_unchanged_result_counts_as_changed": 51,
    "a_changed_result_counts_as_unchanged": 0,
    "a_content_version_moves_back": 0,
    "an_unchanged_version_is_bumped": 51,
    "a_column_that_changed_keeps_its_version": 0,
    "dependents_of_changed_inputs_are_skipped": 0,
    "nothing_is_ever_skipped": 51,
    "one_of_several_blockers_is_enough": 2,
    "wait_for_is_ignored": 2,
    "a_first_run_waits_forever": 2,
    "a_failed_task_counts_as_skipped": 12,
    "a_late_result_is_not_invalidated": 139,
    "an_expired_lease_is_never_reaped": 1,
    "late_carry_over_is_lost": 37,
    "marking_a_partition_keeps_its_fingerprint": 31,
    "a_join_drops_row_filters": 23,
    "first_outputs_of_narrow_plans_do_not_invalidate_their_readers": 9,
    "ingest_drops_columns_and_rows": 0,
    "rows_behind_the_cursor_are_not_read_again": 6,
    "a_position_is_not_compared": 2,
    "unreported_outputs_count_as_unwritten": 5,
    "a_column_that_shapes_every_other_is_pruned": 6,
    "a_skip_does_not_compare_versions": 15,
    "ingest_widens_everything": 0,
    "a_widened_source_inherits_no_partitions": 67,
    "inputs_are_recorded_as_of_completion": 7,
    "cancel_does_not_mark_partitions_unverified": 7,
    "a_hand_over_drops_dependents": 5,
    "cursors_survive_a_changed_job": 41,
    "a_failed_task_is_joined_but_not_marked_to_run": 43,
    "a_failed_task_unblocks_its_dependents": 29,
    "a_hand_over_drops_row_filters": 25,
    "a_single_run_propagates_the_columns_of_its_first_trigger": 11,
    "a_window_is_not_mirrored_downstream": 0,
    "a_second_change_of_a_dataset_in_one_plan_is_lost": 33,
    "a_block_must_run_only_if_all_its_partitions_must": 45,
    "a_joined_task_counts_as_propagated_in_all_columns": 47,
    "a_block_propagates_the_scopes_of_its_first_partition": 49,
    "every_task_of_a_step_is_reached_over_every_edge": 51,
    "a_scope_that_was_never_compared_counts_as_compared_last": 15,
    "a_set_covers_what_it_overlaps": 55,
    "partitions_of_open_tasks_are_not_known": 57,
    "coalescing_takes_the_columns_of_the_first": 49,
    "new_partitions_change_in_some_columns_only": 55,
    "a_row_filter_selects_the_other_groups": 51,
    "a_row_filter_stops_at_the_first_job": 51,
    "a_row_filter_on_partitions_is_ignored": 55,
    "one_partition_of_several_is_recomputed": 49,
    "a_stale_token_is_accepted": 21,
    "a_cursor_moves_back": 23,
    "a_cursor_moves_too_far": 23,
    "unplanned_outputs_are_not_announced": 25,
    "reject_leaves_no_mark": 27,
    "apply_accepts_an_outdated_plan": 17,
    "a_blocked_successor_is_ignored": 3,
    "incomplete_fingerprints_count_as_complete": 25,
    "a_deploy_leaves_the_tasks_of_old_jobs": 39,
    "a_hand_over_drops_partitions": 53,
    "a_window_is_one_short_upstream": 63,
    "a_window_is_one_too_long_downstream": 63,
    "the_first_partition_counts_as_the_last": 63,
    "a_refused_letter_counts_as_replayed": 65,
    "a_changed_source_is_announced_in_its_own_dag_only": 67,
    "tasks_of_other_plans_are_not_waited_for": 69,
    "a_reaped_lease_is_still_valid": 71,
    "a_deploy_drops_canceled_rebuilds": 73,
    "a_deploy_repoints_queued_tasks_only": 73,
    "all_columns_of_a_changed_partition_count_as_changed": 75,
    "a_job_that_is_no_longer_manual_is_not_rebuilt": 77,
    "readers_of_replaced_partitions_are_not_rebuilt": 91,
    "a_deploy_builds_nothing": 81,
    "two_tasks_of_a_block_run_at_once": 83,
    "a_joined_task_waits_for_nothing_more": 5,
    "pending_invalidations_are_planned_anyway": 13,
    "a_position_moves_without_its_invalidations": 85,
    "partial_writes_count_as_unwritten": 87,
    "a_partly_written_output_keeps_its_fingerprint": 187,
    "partitions_that_appear_are_not_invalidated": 14,
    "partitions_are_built_before_they_appear": 14,
    "forecasts_are_not_built": 174,
    "entering_partitions_are_not_built": 56,
    "readers_of_leaving_partitions_are_not_rebuilt": 56,
    "bounds_are_part_of_the_definition": 36,
    "a_paused_dataset_is_planned": 28,
    "a_paused_job_is_claimed": 18,
    "a_resume_drops_gathered_invalidations": 8,
    "a_chain_ends_at_a_changed_partition": 30,
    "later_partitions_of_a_chain_are_lost": 30,
    "a_later_partition_does_not_wait_for_a_new_task": 50,
    "described_data_counts_as_changed": 60,
    "a_schedule_covers_earlier_windows": 24,
}
"""Seed of a detecting world, by mutation; if a seed no longer detects it, others are tried.

`make mutations` searches for all mutations from the first seed on.
"""


def seeds_like(recorded: int) -> Iterator[int]:
    """Yield the recorded seed, others with the same kind of trial, and the first ones.

    A change of a generator changes the worlds of all seeds of its kind, the recorded one included.
    """
    yield recorded
    yield from range(recorded % KINDS, 40 * KINDS, KINDS)
    yield from range(60)


@pytest.fixture(scope="module")
def shared_url(postgres_url: str, template: str) -> Iterator[str]:
    """Return a database shared by all mutations: each world has its own org."""
    with fresh_database(postgres_url, template) as url:
        yield url


@pytest.mark.parametrize("name", MUTATIONS)
def test_a_mutation_still_finds_its_target(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    MUTATIONS[name](monkeypatch)


@pytest.mark.timeout(600)
@pytest.mark.parametrize("name", MUTATIONS)
async def test_a_broken_engine_is_caught(
    shared_url: str, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    MUTATIONS[name](monkeypatch)
    async with await Database.open(shared_url) as database:
        for seed in seeds_like(CAUGHT_BY[name]):
            trial = await Trial.of(seed).run(database)
            if trial.failure is not None:
                assert trial.breaks_a_law, repr(trial.failure)
                print(f"caught by {seed}: {trial.failure!s:.200}")
                return
    raise AssertionError("no world noticed")


@pytest.mark.timeout(600)
async def test_the_unmodified_engine_passes_the_same_worlds(shared_url: str) -> None:
    async with await Database.open(shared_url) as database:
        for seed in sorted({*CAUGHT_BY.values()}):
            trial = await Trial.of(seed).run(database)
            assert trial.failure is None, f"make simulate SEED={seed}"
