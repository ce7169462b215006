"""Worlds of real tables: SQL jobs with derived lineage, run by the SQL operator."""

from collections import Counter
from collections.abc import Iterator

import pytest

from engine.store.database import Database
from tests.simulation.invariants import Broken
from tests.simulation.reach import TABLES, missing
from tests.simulation.tables.mutations import MUTATIONS
from tests.simulation.tables.trial import TableTrial
from tests.support.databases import fresh_database

SEEDS = (0, 2, 4, 6, 7, 10, 12, 16)
WORLDS = 40
CAUGHT_BY = {
    "derived_lineage_drops_a_column": 3,
    "derived_lineage_omits_filters": 17,
    "derived_lineage_is_unknown": 3,
    "row_filters_stop_at_every_select": 21,
    "code_outside_the_file_is_not_hashed": 11,
    "a_run_reports_no_changed_column": 19,
    "every_difference_of_a_text_counts": 4,
}
"""Seed of a detecting world, by mutation; if a seed no longer detects it, others are tried."""


@pytest.fixture(scope="module")
def shared_url(postgres_url: str, template: str) -> Iterator[str]:
    """Return a database shared by all trials: each has its own org and schema."""
    with fresh_database(postgres_url, template) as url:
        yield url


@pytest.mark.slow
@pytest.mark.timeout(600)
async def test_random_tables_equal_their_selects_without_unnecessary_runs(
    shared_url: str,
) -> None:
    counts: Counter[str] = Counter()
    async with await Database.open(shared_url) as database:
        for seed in SEEDS:
            trial = await TableTrial.of(seed).run(database)
            counts += trial.counts
            if trial.failure is not None:
                print("\n".join([*trial.described(), *trial.log]))
                raise AssertionError(f"table world {seed}") from trial.failure
    assert missing(counts, TABLES) == []


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("name", CAUGHT_BY)
async def test_a_broken_derivation_or_operator_is_caught(
    shared_url: str, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    MUTATIONS[name](monkeypatch)
    async with await Database.open(shared_url) as database:
        for seed in (CAUGHT_BY[name], *range(WORLDS)):
            trial = await TableTrial.of(seed).run(database)
            if trial.failure is not None:
                assert isinstance(trial.failure, Broken)
                print(f"caught by {seed}: {trial.failure!s:.200}")
                return
    raise AssertionError(f"{WORLDS} worlds did not notice")
