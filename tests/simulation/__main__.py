"""`make simulate SECONDS=3600 SEED=1`: run worlds in sequence, from a seed on, for a given time."""

from __future__ import annotations

import argparse
import asyncio
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from random import SystemRandom
from traceback import format_exception

from engine.store.database import Database
from tests.simulation.dagfile import describe
from tests.simulation.draw import AnyTrial, trials_of
from tests.simulation.invariants import Broken
from tests.simulation.reach import (
    CHAINS,
    FAILURES,
    GRIDS,
    HISTORY,
    PARALLEL,
    TABLES,
    TOGETHER,
    WORLD,
    missing,
    report,
)
from tests.simulation.trial import Trial, delete_all_data, shrunk
from tests.support.databases import fresh_database, migrated_template
from tests.support.servers import postgres_server

PRINTED_COUNTS = ("worlds", "event", "crashes", "tasks", "deploys")
PROGRESS_SECONDS = 30.0
WORLDS_PER_CLEANUP = 25
"""Number of worlds between cleanups of the database, so that it does not slow down."""


def main() -> int:
    """Return 1 if a world failed; its seed and the shortest failing history are printed."""
    args = _parser().parse_args()
    seed = SystemRandom().randrange(2**31) if args.seed is None else args.seed
    print(f"seed {seed}", flush=True)
    with (
        tempfile.TemporaryDirectory() as scratch,
        postgres_server(Path(scratch), Path(scratch) / "data") as server,
        migrated_template(server) as template,
        fresh_database(server, template) as url,
    ):
        return asyncio.run(_simulate(url, seed, args.seconds, args.shrink))


async def _simulate(url: str, seed: int, seconds: float, max_attempts: int) -> int:
    """Run a single world if no time is given, else worlds until time is up or a world fails."""
    tally = Tally()
    async with await Database.open(url) as database:
        for current in range(seed, 2**63):
            failed = await _failed(current, database, tally)
            if failed is not None:
                print(await _failure_report(current, failed, database, max_attempts))
            if failed is not None or tally.seconds >= seconds:
                break
            if (current - seed) % WORLDS_PER_CLEANUP == WORLDS_PER_CLEANUP - 1:
                await delete_all_data(database)
    print("\n".join(report(tally.counts)))
    if not_reached := missing(
        tally.counts,
        (*WORLD, *HISTORY, *CHAINS, *FAILURES, *GRIDS, *TABLES, *TOGETHER, *PARALLEL),
    ):
        print(f"not reached by these seeds: {', '.join(not_reached)}")
    print(tally.line())
    return int(failed is not None)


async def _failed(seed: int, database: Database, tally: Tally) -> AnyTrial | None:
    """Run the trials of a seed, and return the first to fail."""
    for generated in trials_of(seed):
        trial = await generated.run(database)
        tally.add(trial, seed)
        if trial.failure is not None:
            return trial
    return None


@dataclass
class Tally:
    """Totals so far, printed at intervals."""

    counts: Counter[str] = field(default_factory=Counter)
    started: float = field(default_factory=time.monotonic)
    last_printed: float = 0.0

    @property
    def seconds(self) -> float:
        return time.monotonic() - self.started

    def add(self, trial: AnyTrial, seed: int) -> None:
        self.counts += Counter(worlds=1) + trial.counts
        if self.seconds - self.last_printed >= PROGRESS_SECONDS:
            self.last_printed = self.seconds
            print(f"{self.line()}, at seed {seed}", flush=True)

    def line(self) -> str:
        totals = ", ".join(
            f"{self.counts[name]} {name.removesuffix('s')}s" for name in PRINTED_COUNTS
        )
        rate = self.counts["worlds"] * 60 / max(self.seconds, 0.001)
        return f"{totals}; {rate:.0f} seeds a minute for {self.seconds:.0f} s"


async def _failure_report(seed: int, trial: AnyTrial, database: Database, max_attempts: int) -> str:
    """Return the details of a failure, with a shrunk trial."""
    lines = [f"seed {seed} fails: {trial.failure}"]
    if isinstance(trial, Trial):
        trial = await shrunk(trial, database, max_attempts)
        lines += ["shrunk to:", *describe(trial.world)]
    else:
        lines += trial.described()
    failure = trial.failure
    cause = str(failure) if isinstance(failure, Broken) else "".join(format_exception(failure))
    command = f"reproduce: make simulate SEED={seed}"
    return "\n".join([*lines, *trial.log, cause, command])


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=0.0, help="how long; 0: one world")
    parser.add_argument("--seed", type=int, help="the first seed")
    parser.add_argument(
        "--shrink", type=int, default=200, help="maximum number of attempts to shrink a failure"
    )
    return parser


if __name__ == "__main__":
    raise SystemExit(main())
