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

CAUGHT_BY: dict[str, int] = {}
"""By mutation, a seed whose world notices. Where that has come to be another, others are tried."""


@pytest.fixture(scope="module")
def shared_url(postgres_url: str, template: str) -> Iterator[str]:
    """A database for all mutations: each world has an org of its own."""
    with fresh_database(postgres_url, template) as url:
        yield url


@pytest.mark.timeout(600)
@pytest.mark.parametrize("name", MUTATIONS)
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
