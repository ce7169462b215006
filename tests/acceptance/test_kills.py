"""Engine, worker and consumer are killed again and again, and the tables come out right."""

import random
import time
from pathlib import Path

import psycopg
import pytest

from tests.support.processes import environment, processes
from tests.support.shop import POSTGRES, TABLE, UNREAD, assert_rebuilt, dag

SERVICES = ("engine", "worker", "consume")
KILLS = 12
PATIENCE_SECONDS = 90.0

CHANGES = (
    "INSERT INTO orders (day, region, amount) VALUES (date '2026-01-01' + {day}, '{region}', {n})",
    "UPDATE orders SET amount = amount + {n} WHERE day = date '2026-01-01' + {day}",
    "UPDATE orders SET notes = '{n}' WHERE day = date '2026-01-01' + {day}",
    "UPDATE orders SET day = date '2026-01-01' + {day} WHERE id % 50 = {n} % 50",
    "DELETE FROM orders WHERE region = '{region}' AND day = date '2026-01-01' + {day}",
)
OPEN_WORK = f"""
SELECT ({UNREAD})
     + (SELECT count(*) FROM data_invalidations WHERE processed_at IS NULL)
     + (SELECT count(*) FROM tasks WHERE status IN ('blocked', 'queued', 'running', 'failed'))
"""


@pytest.mark.parametrize("seed", [1, 2])
def test_tables_are_correct_after_kills_at_any_moment(
    database_url: str, tmp_path: Path, seed: int
) -> None:
    chance = random.Random(seed)
    (tmp_path / "dag.yaml").write_text(dag(POSTGRES))
    with (
        psycopg.connect(database_url, autocommit=True) as conn,
        processes(environment(database_url), tmp_path) as services,
    ):
        conn.execute(TABLE.encode())
        services.call("deploy", str(tmp_path / "dag.yaml"))
        services.call("attach", "public.orders", "--dataset", "orders")
        services.start(*SERVICES)
        for _ in range(KILLS):
            for _ in range(chance.randrange(1, 6)):
                conn.execute(_change(chance).encode())
            time.sleep(chance.uniform(0.0, 1.0))  # a random moment for the kill
            services.restart(chance.choice(SERVICES))
        _wait_until_idle(conn)
        assert_rebuilt(conn)


def _change(chance: random.Random) -> str:
    return chance.choice(CHANGES).format(
        day=chance.randrange(21),
        region=chance.choice(("north", "south")),
        n=chance.randrange(1, 99),
    )


def _wait_until_idle(conn: "psycopg.Connection[tuple[int]]") -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while (row := conn.execute(OPEN_WORK.encode()).fetchone()) and row[0]:
        assert time.monotonic() < deadline, f"{row[0]} pieces of work are still open"
        time.sleep(0.1)
