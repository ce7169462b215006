"""Engine, worker and consumer are killed again and again, and the tables come out right."""

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest

EXECUTABLE = Path(sys.executable).with_name("knockon")
SERVICES = ("engine", "worker", "consume")
KILLS = 12
PATIENCE_SECONDS = 90.0

SOURCE = """
CREATE TABLE orders (
    id bigint PRIMARY KEY GENERATED ALWAYS AS IDENTITY,
    day date NOT NULL, region text NOT NULL, amount int NOT NULL, notes text);
INSERT INTO orders (day, region, amount)
SELECT date '2026-01-01' + n % 21, (ARRAY['north', 'south'])[1 + n % 2], n
FROM generate_series(1, 200) n
"""
DAG = """
dag: kills
partitionings:
  daily: {dt: {time: day, start: 2026-01-01, end: 2026-02-01}}
  weekly: {week: {time: week}}
  regional:
    dt: {time: day, start: 2026-01-01, end: 2026-02-01, column: day}
    region: {static: [north, south]}
jobs:
  - name: orders
    activation: source
    source: {kind: postgres, table: public.orders}
    outputs:
      - {dataset: orders, storage: {table: public.orders}, partitioning: regional,
         columns: [id, day, region, amount, notes]}
  - name: by_region
    max_attempts: 1000
    inputs: [orders]
    outputs:
      - dataset: by_region
        storage: {table: made.by_region}
        partitioning: regional
        columns: {total: [orders.amount], "*": [orders.day, orders.region]}
    config: {sql: "SELECT day, region, sum(amount) AS total FROM orders GROUP BY 1, 2"}
  - name: daily
    max_attempts: 1000
    inputs: [by_region]
    outputs: [{dataset: daily, storage: {table: made.daily}, partitioning: daily}]
    config: {sql: "SELECT day AS dt, sum(total) AS total FROM by_region GROUP BY 1"}
  - name: weekly
    max_attempts: 1000
    inputs: [{dataset: daily, mapping: {week: {from: dt}}}]
    outputs: [{dataset: weekly, storage: {table: made.weekly}, partitioning: weekly}]
    config: {sql: "SELECT sum(total) AS total, count(*) AS days FROM daily HAVING count(*) > 0"}
"""
REBUILT = {
    "made.by_region": "SELECT day, region, sum(amount)::text FROM orders GROUP BY 1, 2",
    "made.daily": "SELECT day, sum(amount)::text FROM orders GROUP BY 1",
    "made.weekly": "SELECT date_trunc('week', day)::date, sum(amount)::text, "
    "count(DISTINCT day)::text FROM orders GROUP BY 1",
}
MADE = {
    "made.by_region": "SELECT day, region, total::text FROM made.by_region",
    "made.daily": "SELECT dt, total::text FROM made.daily",
    "made.weekly": "SELECT week, total::text, days::text FROM made.weekly",
}
CHANGES = (
    "INSERT INTO orders (day, region, amount) VALUES (date '2026-01-01' + {day}, '{region}', {n})",
    "UPDATE orders SET amount = amount + {n} WHERE day = date '2026-01-01' + {day}",
    "UPDATE orders SET notes = '{n}' WHERE day = date '2026-01-01' + {day}",
    "UPDATE orders SET day = date '2026-01-01' + {day} WHERE id % 50 = {n} % 50",
    "DELETE FROM orders WHERE region = '{region}' AND day = date '2026-01-01' + {day}",
)
OPEN_WORK = """
SELECT (SELECT count(*) FROM knockon_source.changes)
     + (SELECT count(*) FROM data_invalidations WHERE processed_at IS NULL)
     + (SELECT count(*) FROM tasks WHERE status IN ('blocked', 'queued', 'running', 'failed'))
"""


@pytest.fixture
def environment(database_url: str, tmp_path: Path) -> dict[str, str]:
    """Short leases, so that a killed worker's tasks come back soon."""
    (tmp_path / "dag.yaml").write_text(DAG)
    return os.environ | {
        "KNOCKON_DATABASE_URL": database_url,
        "KNOCKON_LEASE_SECONDS": "2",
        "KNOCKON_REAP_SECONDS": "0.5",
        "KNOCKON_LOG_LEVEL": "error",
    }


@pytest.mark.parametrize("seed", [1, 2])
def test_killed_at_any_moment_it_ends_in_the_same_tables(
    environment: dict[str, str], database_url: str, tmp_path: Path, seed: int
) -> None:
    chance = random.Random(seed)
    with psycopg.connect(database_url, autocommit=True) as conn:
        conn.execute(SOURCE.encode())
        _run(environment, "deploy", str(tmp_path / "dag.yaml"))
        _run(environment, "attach", "public.orders", "--dataset", "orders")
        with _services(environment) as children:
            for _ in range(KILLS):
                for _ in range(chance.randrange(1, 6)):
                    conn.execute(_change(chance).encode())
                time.sleep(chance.uniform(0.0, 1.0))  # the moment of the kill is what is drawn
                victim = chance.choice(SERVICES)
                children[victim].kill()
                children[victim].wait()
                children[victim] = _start(environment, victim)
            _come_to_rest(conn)
        for table, rebuild in REBUILT.items():
            expected = sorted(conn.execute(rebuild.encode()).fetchall(), key=str)
            assert sorted(conn.execute(MADE[table].encode()).fetchall(), key=str) == expected, table


def _change(chance: random.Random) -> str:
    return chance.choice(CHANGES).format(
        day=chance.randrange(21),
        region=chance.choice(("north", "south")),
        n=chance.randrange(1, 99),
    )


@contextmanager
def _services(environment: dict[str, str]) -> Iterator[dict[str, "subprocess.Popen[bytes]"]]:
    children = {name: _start(environment, name) for name in SERVICES}
    try:
        yield children
    finally:
        for child in children.values():
            child.send_signal(signal.SIGTERM)
        codes = [child.wait(timeout=PATIENCE_SECONDS) for child in children.values()]
    assert codes == [0] * len(codes), "SIGTERM drains"


def _start(environment: dict[str, str], name: str) -> "subprocess.Popen[bytes]":
    return subprocess.Popen([EXECUTABLE, name], env=environment)


def _run(environment: dict[str, str], *args: str) -> None:
    subprocess.run([EXECUTABLE, *args], env=environment, check=True, stdout=subprocess.DEVNULL)


def _come_to_rest(conn: "psycopg.Connection[tuple[int]]") -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while (row := conn.execute(OPEN_WORK.encode()).fetchone()) and row[0]:
        assert time.monotonic() < deadline, f"{row[0]} pieces of work are still open"
        time.sleep(0.1)
