"""The two laws, on random worlds."""

from collections import Counter

import pytest

from engine.store.database import Database
from tests.simulation.dagfile import describe
from tests.simulation.reach import GRIDS, TOGETHER, missing
from tests.simulation.trial import Trial

WORLDS = 105
WORLDS_OF_GRIDS = 25
WORLDS_DEPLOYED_TOGETHER = 12


@pytest.mark.slow
@pytest.mark.timeout(600)
async def test_random_worlds_satisfy_the_laws_and_reach_every_situation(
    database: Database,
) -> None:
    counts: Counter[str] = Counter()
    for seed in range(WORLDS):
        trial = await Trial.of(seed).run(database)
        counts += trial.counts
        if trial.failure is not None:
            print("\n".join([*describe(trial.world), *trial.log]))
            raise AssertionError(f"make simulate SEED={seed}") from trial.failure
    assert missing(counts) == []


@pytest.mark.slow
@pytest.mark.timeout(600)
async def test_worlds_of_more_grids_satisfy_the_laws(database: Database) -> None:
    counts: Counter[str] = Counter()
    for seed in range(WORLDS_OF_GRIDS):
        trial = await Trial.of_grids(seed).run(database)
        counts += trial.counts
        if trial.failure is not None:
            print("\n".join([*describe(trial.world), *trial.log]))
            raise AssertionError(f"world of grids {seed}") from trial.failure
    assert missing(counts, GRIDS) == []


@pytest.mark.slow
@pytest.mark.timeout(600)
async def test_worlds_deployed_together_satisfy_the_laws(database: Database) -> None:
    counts: Counter[str] = Counter()
    for seed in range(WORLDS_DEPLOYED_TOGETHER):
        trial = await Trial.of_deploys(seed).run(database)
        counts += trial.counts
        if trial.failure is not None:
            print("\n".join([*describe(trial.world), *trial.log]))
            raise AssertionError(f"world deployed together {seed}") from trial.failure
    assert missing(counts, TOGETHER) == []


async def test_a_seed_determines_the_history(database: Database) -> None:
    one, other = await Trial.of(8).run(database), await Trial.of(8).run(database)
    assert one.log == other.log
