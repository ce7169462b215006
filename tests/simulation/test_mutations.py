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
    "the_last_event_of_a_batch_is_lost": 6,
    "a_position_is_not_compared": 36,
    "an_edge_is_not_followed": 6,
    "a_plan_says_done_before_it_is": 6,
    "columns_are_not_looked_at": 68,
    "unknown_columns_reach_nothing": 6,
    "a_row_filter_narrows_to_nothing": 9,
    "a_window_goes_one_short_on_its_way_down": 49,
    "one_partition_of_several_is_recomputed": 6,
    "a_running_task_is_joined": 422,
    "nobody_is_joined": 8,
    "a_dependency_is_forgotten": 160,
    "two_run_at_once": 8,
    "a_cap_is_not_looked_at": 6,
    "a_stale_token_is_accepted": 93,
    "a_reaped_lease_is_still_good": 68,
    "an_unchanged_result_counts_as_changed": 88,
    "a_changed_result_counts_as_unchanged": 6,
    "a_stamp_moves_back": 160,
    "an_unchanged_stamp_is_bumped": 88,
    "rows_behind_the_cursor_are_not_read_again": 42,
    "what_did_change_is_skipped": 6,
    "nothing_is_ever_skipped": 88,
    "one_of_several_in_front_is_enough": 160,
    "wait_for_is_ignored": 303,
    "a_first_run_waits_for_ever": 303,
    "a_task_that_gave_up_counts_as_done": 88,
    "a_lost_lease_is_never_noticed": 9,
    "a_deploy_leaves_the_tasks_of_old_jobs": 88,
}
"""By mutation, a seed whose world notices. Where that has come to be another, others are tried."""


@pytest.fixture(scope="module")
def shared_url(postgres_url: str, template: str) -> Iterator[str]:
    """A database for all mutations: each world has an org of its own."""
    with fresh_database(postgres_url, template) as url:
        yield url


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
