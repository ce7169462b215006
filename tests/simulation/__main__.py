"""`make simulate SECONDS=3600 SEED=1`: world after world, from a seed on, for as long as told."""

from __future__ import annotations

import argparse
import asyncio
import tempfile
import time
from collections import Counter
from pathlib import Path
from random import SystemRandom
from traceback import format_exception

from engine.store.database import Database
from tests.simulation.dagfile import describe
from tests.simulation.invariants import Broken
from tests.simulation.trial import Trial, shrunk
from tests.support.databases import fresh_database, migrated_template
from tests.support.servers import postgres_server


def main() -> int:
    """Return 1 when some world failed; its seed and the smallest history are printed."""
    given = _parser().parse_args()
    seed = SystemRandom().randrange(2**31) if given.seed is None else given.seed
    print(f"seed {seed}", flush=True)
    with (
        tempfile.TemporaryDirectory() as scratch,
        postgres_server(Path(scratch), Path(scratch) / "data") as server,
        migrated_template(server) as template,
        fresh_database(server, template) as url,
    ):
        return asyncio.run(_simulate(url, seed, given.seconds))


async def _simulate(url: str, seed: int, seconds: float) -> int:
    """One world where no time is given, else as many as fit; stops at the first that fails."""
    counts: Counter[str] = Counter()
    end = time.monotonic() + seconds
    async with await Database.open(url) as database:
        for each in range(seed, 2**63):
            trial = await Trial.of(each).run(database)
            counts += Counter(worlds=1, **trial.counts)
            if trial.failure is not None:
                print(await _told(each, trial, database))
                break
            if time.monotonic() >= end:
                break
    print(", ".join(f"{count} {name}" for name, count in sorted(counts.items())))
    return int(trial.failure is not None)


async def _told(seed: int, trial: Trial, database: Database) -> str:
    """Everything that is needed to look into a failure."""
    small = await shrunk(trial, database)
    failure = small.failure
    why = str(failure) if isinstance(failure, Broken) else "".join(format_exception(failure))
    lines = [f"seed {seed} fails: {trial.failure}", "made smaller:", *describe(small.world)]
    again = f"again: make simulate SEED={seed}"
    return "\n".join([*lines, *small.log, why, again])


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=0.0, help="how long; 0: one world")
    parser.add_argument("--seed", type=int, help="the first seed")
    return parser


if __name__ == "__main__":
    raise SystemExit(main())
