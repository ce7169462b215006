"""Repair of lost work by the audit: an engine losing work still ends with correct tables."""

from collections.abc import Iterator

import pytest

from engine.store.database import Database
from tests.simulation.mutations import CLASSES, LOST_WORK, MUTATIONS
from tests.simulation.mutations.tasks import a_failed_task_is_joined_unmarked
from tests.simulation.test_mutations import CAUGHT_BY, seeds_like
from tests.simulation.trial import Trial, replace
from tests.support.databases import fresh_database

MENDED_BY = {
    "entering_partitions_are_not_built": 56,
    "an_edge_is_not_followed": 0,
    "a_plan_executes_only_part_of_its_steps": 1,
    "unknown_columns_reach_nothing": 0,
    "a_dependency_is_dropped": 0,
    "dependents_of_changed_inputs_are_skipped": 0,
    "a_failed_task_counts_as_skipped": 29,
    "a_late_result_is_not_invalidated": 239,
    "a_hand_over_drops_dependents": 5,
    "a_failed_task_is_joined_but_not_marked_to_run": 43,
    "first_outputs_of_narrow_plans_do_not_invalidate_their_readers": 9,
    "a_job_that_is_no_longer_manual_is_not_rebuilt": 77,
    "readers_of_replaced_partitions_are_not_rebuilt": 91,
    "a_joined_task_waits_for_nothing_more": 5,
    "a_single_run_propagates_the_columns_of_its_first_trigger": 11,
    "a_second_change_of_a_dataset_in_one_plan_is_lost": 33,
    "a_joined_task_counts_as_propagated_in_all_columns": 47,
    "a_set_covers_what_it_overlaps": 55,
    "a_block_must_run_only_if_all_its_partitions_must": 45,
    "partitions_of_open_tasks_are_not_known": 57,
}
"""Seed of a world losing work, by mutation; if a seed no longer does, others are tried."""


@pytest.fixture(scope="module")
def shared_url(postgres_url: str, template: str) -> Iterator[str]:
    """Return a database shared by all mutations: each world has its own org."""
    with fresh_database(postgres_url, template) as url:
        yield url


@pytest.mark.timeout(600)
@pytest.mark.parametrize("name", [name for name in CLASSES if CLASSES[name] == LOST_WORK])
async def test_the_audit_repairs_what_a_broken_engine_loses(
    shared_url: str, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    MUTATIONS[name](monkeypatch)
    async with await Database.open(shared_url) as database:
        for seed in seeds_like(MENDED_BY[name]):
            trial = await replace(Trial.of(seed), is_mending=True).run(database)
            if trial.failure is not None:
                raise AssertionError(f"not repaired in world {seed}") from trial.failure
            if trial.counts["partitions mended by the audit"]:
                return
    raise AssertionError("no world lost work")


@pytest.mark.timeout(600)
async def test_outputs_declared_wrong_are_recomputed_despite_unmarked_tasks(
    shared_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the evidence lost as well, the same world ends incorrect, see `test_mutations.py`."""
    a_failed_task_is_joined_unmarked(monkeypatch)
    seed = CAUGHT_BY["a_failed_task_is_joined_but_not_marked_to_run"]
    async with await Database.open(shared_url) as database:
        trial = await Trial.of(seed).run(database)
    assert trial.failure is None
