"""`make perturb`: check the lineage of generated queries for a limited time.

Prints a seed for every query with wrong lineage, and fails if any was found.
"""

import argparse
import sys
from pathlib import Path
from random import SystemRandom
from tempfile import TemporaryDirectory
from time import monotonic

import psycopg

from tests.perturbation.oracle import Oracle
from tests.support.databases import fresh_database
from tests.support.servers import postgres_server


def main() -> int:
    """Run until the time is over; the exit status reflects the number of wrong lineages."""
    parser = argparse.ArgumentParser(prog="python -m tests.perturbation", description=__doc__)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--seed", type=int, default=SystemRandom().randrange(2**32))
    options = parser.parse_args()
    print(f"seed {options.seed}, {options.seconds:g} s", flush=True)
    with TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        with (
            postgres_server(Path(folder, "cache"), Path(folder, "data")) as server,
            fresh_database(server) as url,
            psycopg.connect(url, autocommit=True) as conn,
        ):
            return _run(Oracle(conn), options.seed, monotonic() + options.seconds)


def _run(oracle: Oracle, seed: int, until: float) -> int:
    oracle.prepare()
    wrong = 0
    while monotonic() < until:
        for each in oracle.check(seed):
            wrong += 1
            print(each, flush=True)
        seed += 1
    print(", ".join(f"{count} {name}" for name, count in oracle.counts.items()))
    print(f"{wrong} wrong")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
