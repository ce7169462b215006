"""Worlds of growing tables: `PerUpdate` and `append` jobs of the SQL operator."""

import asyncio
from collections import Counter

import pytest

from engine.store.database import Database
from tests.simulation.growing.mutations import MUTATIONS
from tests.simulation.growing.trial import NEW_DAYS, GrowingTrial
from tests.simulation.invariants import Broken
from tests.support.databases import fresh_database

SEEDS = (*range(16), *range(NEW_DAYS, NEW_DAYS + 4))
CAUGHT_BY = {
    "a_filter_selects_no_row": 1,
    "every_change_only_adds_rows": 1,
    "a_dropped_condition_selects_new_rows": 1,
    "an_unknown_column_selects_new_rows": 5,
    "a_new_partition_selects_new_rows": NEW_DAYS + 1,
}
"""Seed of a detecting world, by mutation."""
REACHED = (
    "compared",
    "stale by decision",
    "cancel",
    "fail",
    "look_up",
    "update",
    "late",
    "late, with conditions on changed columns",
    "late, with conditions on unknown columns",
    "late, in a new partition",
)


async def _run(url: str, seed: int) -> GrowingTrial:
    async with await Database.open(url) as database:
        return await GrowingTrial.of(seed).run(database)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_fresh_outputs_equal_their_selects(postgres_url: str, template: str) -> None:
    counts: Counter[str] = Counter()
    for seed in SEEDS:
        with fresh_database(postgres_url, template) as url:
            trial = asyncio.run(_run(url, seed))
        counts += trial.counts
        if trial.failure is not None:
            print("\n".join(trial.log))
            raise AssertionError(f"growing world {seed}") from trial.failure
    assert [name for name in REACHED if not counts[name]] == []


@pytest.mark.parametrize("name", MUTATIONS)
def test_a_broken_follower_is_caught(
    postgres_url: str, template: str, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    MUTATIONS[name](monkeypatch)
    with fresh_database(postgres_url, template) as url:
        trial = asyncio.run(_run(url, CAUGHT_BY[name]))
    assert isinstance(trial.failure, Broken)
