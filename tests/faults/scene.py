"""A scene: a database, a broker, processes between them, and what has to be true in the end."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any
from uuid import uuid4

import psycopg

from engine.embedded.broker import Broker
from tests.faults.ledger import Producer, producing
from tests.faults.oracle import assert_as_produced
from tests.faults.orders import Orders
from tests.support.processes import Processes, environment, processes
from tests.support.shop import TABLE, assert_rebuilt, dag, debezium

IS_LONG = bool(os.environ.get("FAULT_LONG"))
PATIENCE_SECONDS = 300.0
PARTITIONS = 4
SERVICES = ("engine", "worker", "consume")
_OPEN = """
SELECT (SELECT count(*) FROM data_invalidations WHERE processed_at IS NULL)
     + (SELECT count(*) FROM tasks WHERE status IN ('blocked', 'queued', 'running', 'failed'))
"""
_POSITIONS = "SELECT stream, position::bigint FROM consumer_positions"


@dataclass
class Scene:
    """Everything that a fault may touch; `seen` is what its line in the report says."""

    dice: Random
    url: str
    broker: Broker
    services: Processes
    producer: Producer
    orders: Orders
    seen: dict[str, Any] = field(default_factory=dict)

    def count(self, what: str, more: int = 1) -> None:
        self.seen[what] = self.seen.get(what, 0) + more

    async def produce(self, changes: int) -> None:
        """Change the orders, and have their messages sent."""
        messages = self.orders.change(changes)
        await self.until(self._saved)
        await self.producer.send(messages)
        self.count("messages", len(messages))

    async def come_to_rest(self) -> None:
        """Return when all that was produced is read, planned and done."""
        await self.producer.read_back()
        await self.until(self._rests)

    async def assert_right(self, *lost: str) -> None:
        """Come to rest, and hold everything against what was produced."""
        await self.come_to_rest()
        with self.connect() as conn:
            self.seen["facts"] = assert_as_produced(conn, self.producer.log, lost)
            assert_rebuilt(conn)

    def rows(self, query: str, *args: Any) -> list[Any]:
        with self.connect() as conn:
            return conn.execute(query.encode(), args or None).fetchall()

    def one(self, query: str, *args: Any) -> Any:
        [[value]] = self.rows(query, *args)
        return value

    def connect(self) -> psycopg.Connection[Any]:
        return psycopg.connect(self.url, autocommit=True, connect_timeout=5)

    async def until(self, is_so: Callable[[], bool]) -> None:
        """Wait for it, past whatever the database is doing; nothing is done in between."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while not _bearing_outages(is_so):
            assert time.monotonic() < deadline, f"not {is_so.__name__}: {self._state()}"
            await asyncio.sleep(0.05)

    def _saved(self) -> bool:
        with self.connect() as conn:
            self.orders.save(conn)
        return True

    def _rests(self) -> bool:
        with self.connect() as conn:
            reached = dict(conn.execute(_POSITIONS).fetchall())
            [[open_work]] = conn.execute(_OPEN.encode()).fetchall()  # what was read is in it
        ends = {f"kafka/{p.topic}/{p.partition}": end for p, end in self.producer.ends.items()}
        return not open_work and reached == reached | ends

    def _state(self) -> str:
        counts = self.rows("SELECT status, count(*) FROM tasks GROUP BY 1")
        return f"tasks {counts}, positions {self.rows(_POSITIONS)}, ends {self.producer.ends}"


@asynccontextmanager
async def staged(
    seed: str, url: str, broker: Broker, directory: Path, more_jobs: str = ""
) -> AsyncIterator[Scene]:
    """A scene with the shop deployed, in which nothing runs yet."""
    topic = f"orders-{uuid4().hex[:8]}"
    directory.mkdir(exist_ok=True)
    (directory / "dag.yaml").write_text(dag(debezium(topic), more_jobs))
    told = environment(url, KNOCKON_KAFKA_BOOTSTRAP_SERVERS=broker.bootstrap_servers)
    async with producing(broker, topic, PARTITIONS) as producer:
        with processes(told, directory) as services:
            with psycopg.connect(url, autocommit=True) as conn:
                conn.execute(TABLE.split(";")[0].encode())
            services.call("deploy", str(directory / "dag.yaml"))
            dice = Random(seed)
            yield Scene(dice, url, broker, services, producer, Orders(dice))


def _bearing_outages(is_so: Callable[[], bool]) -> bool:
    try:
        return is_so()
    except psycopg.OperationalError:
        return False
