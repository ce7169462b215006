"""The audit repairs lost work: with an engine that loses some, every table ends up correct."""

from collections.abc import Iterator

import pytest

from engine.store.database import Database
from tests.simulation.mutations import MUTATIONS, a_failed_task_is_joined_unmarked
from tests.simulation.test_mutations import CAUGHT_BY
from tests.simulation.trial import Trial, replace
from tests.support.databases import fresh_database

WORLDS = 60

MENDED_BY = {
    "an_edge_is_not_followed": 0,
    "a_plan_says_done_before_it_is": 1,
    "unknown_columns_reach_nothing": 0,
    "a_dependency_is_forgotten": 0,
    "what_did_change_is_skipped": 0,
    "a_task_that_gave_up_counts_as_done": 29,
    "a_failed_task_is_joined_but_not_marked_as_hit": 115,
    "first_outputs_of_narrow_plans_do_not_invalidate_their_readers": 9,
}
"""By mutation, a seed whose world loses work. If it no longer does, others are tried.

`make mutations` looks for worlds of all mutations that lose work.
"""


@pytest.fixture(scope="module")
def shared_url(postgres_url: str, template: str) -> Iterator[str]:
    """Return a database for all mutations: each world has an org of its own."""
    with fresh_database(postgres_url, template) as url:
        yield url


@pytest.mark.timeout(600)
@pytest.mark.parametrize("name", MENDED_BY)
async def test_the_audit_repairs_what_a_broken_engine_loses(
    shared_url: str, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    MUTATIONS[name](monkeypatch)
    async with await Database.open(shared_url) as database:
        for seed in (MENDED_BY[name], *range(WORLDS)):
            trial = await replace(Trial.of(seed), is_mending=True).run(database)
            if trial.failure is not None:
                raise AssertionError(f"not repaired in world {seed}") from trial.failure
            if trial.counts["mended by the audit"]:
                return
    raise AssertionError(f"{WORLDS} worlds lost nothing")


@pytest.mark.timeout(600)
async def test_what_was_declared_wrong_is_recomputed_whatever_tasks_are_marked_with(
    shared_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same world ends wrong if that evidence is forgotten too, see `test_mutations.py`."""
    a_failed_task_is_joined_unmarked(monkeypatch)
    seed = CAUGHT_BY["a_failed_task_is_joined_but_not_marked_as_hit"]
    async with await Database.open(shared_url) as database:
        trial = await Trial.of(seed).run(database)
    assert trial.failure is None
