"""Engines and workers running concurrently, including the kill of a process."""

from collections.abc import Iterator
from dataclasses import replace

import pytest

from engine.store.database import Database
from tests.simulation.invariants import Broken
from tests.simulation.parallel.trial import ParallelTrial
from tests.simulation.tables.mutations import TWO_WORKERS_CLAIM_ONE_TASK
from tests.support.databases import fresh_database

SEEDS = (0, 1)
WORLDS = 10


@pytest.fixture(scope="module")
def shared_url(postgres_url: str, template: str) -> Iterator[str]:
    """Return a database shared by all trials: each has its own org and schema."""
    with fresh_database(postgres_url, template) as url:
        yield url


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("seed", SEEDS)
async def test_parallel_processes_satisfy_the_laws_despite_kills(
    shared_url: str, seed: int
) -> None:
    async with await Database.open(shared_url) as database:
        trial = await ParallelTrial.of(seed).run(database)
    if trial.failure is not None:
        print("\n".join([*trial.described(), *trial.log]))
        raise AssertionError(f"parallel world {seed}") from trial.failure


@pytest.mark.slow
@pytest.mark.timeout(900)
async def test_a_task_claimed_by_two_workers_is_caught(shared_url: str) -> None:
    async with await Database.open(shared_url) as database:
        for seed in range(WORLDS):
            trial = ParallelTrial.of(seed)
            broken = await replace(trial, patch=TWO_WORKERS_CLAIM_ONE_TASK).run(database)
            if broken.failure is not None:
                assert isinstance(broken.failure, Broken)
                assert broken.law == "an attempt starts only after the previous one has ended"
                return
    raise AssertionError(f"{WORLDS} worlds did not notice")
