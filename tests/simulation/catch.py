"""`python -m tests.simulation.catch [NAME…]`: how soon the simulator detects each mutation.

Prints for each mutation the number of worlds run, the CPU seconds of the simulator itself, and the
violated law. With `--mend`, for mutations that lose work, the audit repairs the loss at each rest
and every world must end with correct tables.
"""

from __future__ import annotations

import argparse
import asyncio
import tempfile
import time
from collections.abc import Iterator
from itertools import count as count_from
from itertools import islice
from pathlib import Path

import pytest

from engine.store.database import Database
from tests.simulation.draw import trials_of
from tests.simulation.mutations import CLASSES, LOST_WORK, MUTATIONS
from tests.simulation.trial import Trial, delete_all_data, replace
from tests.support.databases import fresh_database, migrated_template
from tests.support.servers import postgres_server

WORLDS_PER_CLEANUP = 25


def main() -> int:
    """Return the number of mutations not detected by any world, or not repaired by the audit."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME")
    parser.add_argument(
        "--worlds", type=int, default=120, help="maximum number of worlds per mutation"
    )
    parser.add_argument("--seed", type=int, default=0, help="the first seed")
    parser.add_argument("--mend", action="store_true", help="require the audit to repair the loss")
    args = parser.parse_args()
    with (
        tempfile.TemporaryDirectory() as scratch,
        postgres_server(Path(scratch), Path(scratch) / "data") as server,
        migrated_template(server) as template,
        fresh_database(server, template) as url,
    ):
        return asyncio.run(_catch_all(url, args))


async def _catch_all(url: str, args: argparse.Namespace) -> int:
    missed = 0
    names = [name for name in MUTATIONS if not args.mend or CLASSES.get(name) == LOST_WORK]
    check = _is_repaired if args.mend else _is_caught
    async with await Database.open(url) as database:
        for name in args.names or names:
            missed += not await check(database, name, args.seed, args.worlds)
            await delete_all_data(database)
    return missed


async def _run(database: Database, trial: Trial, name: str | None) -> Trial:
    """Run a trial on an engine with a mutation, or without any."""
    with pytest.MonkeyPatch.context() as patch:
        if name is not None:
            MUTATIONS[name](patch)
        return await trial.run(database)


async def _is_caught(database: Database, name: str, first: int, worlds: int) -> bool:
    """Return whether a world breaks a law only under the mutation.

    Errors of other kinds do not count: a mutation that no longer matches the engine's source has
    them in every world.
    """
    started = time.process_time()
    for count, generated in enumerate(islice(_in_memory(first), worlds), start=1):
        trial = await _run(database, replace(generated), name)
        seconds = time.process_time() - started
        if trial.breaks_a_law and not (await _run(database, generated, None)).failure:
            print(f'    "{name}": {count} worlds, {seconds:.0f} s: {trial.law}', flush=True)
            return True
        if count % WORLDS_PER_CLEANUP == 0:
            await delete_all_data(database)
    print(f"    # {name}: not caught by {worlds} worlds, {seconds:.0f} s", flush=True)
    return False


def _in_memory(first: int) -> Iterator[Trial]:
    """Yield the trials without tables and processes, as `make simulate` runs them."""
    for seed in count_from(first):
        yield from (trial for trial in trials_of(seed) if isinstance(trial, Trial))


async def _is_repaired(database: Database, name: str, first: int, worlds: int) -> bool:
    """Return whether the audit repaired lost work, with no earlier world ending incorrect."""
    for seed in range(first, first + worlds):
        trial = await _run(database, replace(Trial.of(seed), is_mending=True), name)
        if trial.failure is not None:
            if (await _run(database, replace(Trial.of(seed), is_mending=True), None)).failure:
                continue
            print(f"    # {name}: not repaired in world {seed}: {trial.failure!s:.200}", flush=True)
            return False
        if mended := trial.counts["partitions mended by the audit"]:
            print(f'    "{name}": {seed},  # {mended} partitions repaired', flush=True)
            return True
        if (seed - first + 1) % WORLDS_PER_CLEANUP == 0:
            await delete_all_data(database)
    print(f"    # {name}: {worlds} worlds lost nothing", flush=True)
    return False


if __name__ == "__main__":
    raise SystemExit(main())
