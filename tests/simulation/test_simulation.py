"""The two laws, on random worlds."""

from collections import Counter
from collections.abc import Iterable

import pytest

from engine.store.database import Database
from tests.simulation.dagfile import describe
from tests.simulation.reach import GRIDS, TOGETHER, missing
from tests.simulation.trial import Trial

WORLDS = 105
WORLDS_OF_GRIDS = 25
WORLDS_DEPLOYED_TOGETHER = 12


async def _counts(database: Database, trials: Iterable[Trial], name: str) -> Counter[str]:
    """Run the trials of the seeds from 0 on, and return what they have reached."""
    counts: Counter[str] = Counter()
    for seed, generated in enumerate(trials):
        trial = await generated.run(database)
        counts += trial.counts
        if trial.failure is not None:
            print("\n".join([*describe(trial.world), *trial.log]))
            raise AssertionError(f"{name}{seed}") from trial.failure
    return counts


@pytest.mark.slow
@pytest.mark.timeout(600)
async def test_random_worlds_satisfy_the_laws_and_reach_every_situation(
    database: Database,
) -> None:
    counts = await _counts(database, map(Trial.of, range(WORLDS)), "make simulate SEED=")
    assert missing(counts) == []


@pytest.mark.slow
@pytest.mark.timeout(600)
async def test_worlds_of_more_grids_satisfy_the_laws(database: Database) -> None:
    counts = await _counts(database, map(Trial.of_grids, range(WORLDS_OF_GRIDS)), "world of grids ")
    assert missing(counts, GRIDS) == []


@pytest.mark.slow
@pytest.mark.timeout(600)
async def test_worlds_deployed_together_satisfy_the_laws(database: Database) -> None:
    counts = await _counts(
        database, map(Trial.of_deploys, range(WORLDS_DEPLOYED_TOGETHER)), "world deployed together "
    )
    assert missing(counts, TOGETHER) == []


async def test_a_seed_determines_the_history(database: Database) -> None:
    one, other = await Trial.of(8).run(database), await Trial.of(8).run(database)
    assert one.log == other.log
