"""The two laws, on worlds that nobody wrote by hand."""

import pytest

from engine.store.database import Database
from tests.simulation.dagfile import describe
from tests.simulation.trial import Trial

WORLDS = 60
AT_ONCE = 10


@pytest.mark.parametrize("first", range(0, WORLDS, AT_ONCE))
async def test_what_is_at_rest_is_sound_and_nothing_ran_in_vain(
    database: Database, first: int
) -> None:
    for seed in range(first, first + AT_ONCE):
        trial = await Trial.of(seed).run(database)
        if trial.failure is not None:
            print("\n".join([*describe(trial.world), *trial.log]))
            raise AssertionError(f"make simulate SEED={seed}") from trial.failure


async def test_a_seed_is_the_same_history_each_time(database: Database) -> None:
    one, other = await Trial.of(8).run(database), await Trial.of(8).run(database)
    assert one.log == other.log
