"""A scene: a database, a broker, processes between them, and the invariants at the end."""

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
import pytest

from engine.embedded.broker import Broker
from tests.faults.ledger import Producer, producing
from tests.faults.oracle import assert_as_produced
from tests.faults.orders import SPACE, Orders
from tests.support.processes import Processes, environment, processes
from tests.support.shop import POSTGRES, TABLE, UNREAD, assert_rebuilt, dag, debezium

SCALE = int(os.environ.get("FAULT_SCALE") or 0)
EVENTS = int(os.environ.get("EVENTS") or 20_000)
PATIENCE_SECONDS = 300.0
PARTITIONS = 4
SERVICES = ("engine", "worker", "consume")
WAITING = """
SELECT count(*) FROM pg_stat_activity
WHERE datname = current_database() AND wait_event_type = 'Lock'
"""
_OPEN = """
SELECT (SELECT count(*) FROM data_invalidations WHERE processed_at IS NULL)
     + (SELECT count(*) FROM tasks WHERE status IN ('blocked', 'queued', 'running', 'failed'))
"""
POSITIONS = "SELECT stream, split_part(position, '@', 1)::bigint FROM consumer_positions"


_EXPELLED_SOON = """
from engine.embedded.broker import Broker
Broker.consumer_options = {"session_timeout_ms": 3000, "heartbeat_interval_ms": 500}
"""
"""A group waits ten seconds for a member that was killed, unless that has said otherwise."""


only_at_length = pytest.mark.skipif(SCALE == 0, reason="`make faults` runs it")
"""Leave a fault out of `make test`, which has to be done with in a while."""


def rounds(few: int) -> int:
    """Number of repetitions, in `make test` and in a long run."""
    return few * max(SCALE, 1)


@dataclass
class Scene:
    """State accessible to a fault; `seen` is the content of its line in the report."""

    dice: Random
    url: str
    broker: Broker
    services: Processes
    producer: Producer
    orders: Orders
    seen: dict[str, Any] = field(default_factory=dict)
    changed: set[str] = field(default_factory=set)

    def count(self, what: str, more: int = 1) -> None:
        self.seen[what] = self.seen.get(what, 0) + more

    async def produce(self, changes: int) -> None:
        """Change the orders, and send their messages."""
        messages = self.orders.change(changes)
        await self.until(self.saved)
        await self.producer.send(messages)
        self.count("messages", len(messages))

    async def come_to_rest(self) -> None:
        """Return when all produced messages are read, planned and processed."""
        await self.producer.read_back()
        await self.until(self._rests)

    async def assert_right(self, *lost: str) -> None:
        """Come to rest, and compare all tables with the produced messages."""
        await self.come_to_rest()
        with self.connect() as conn:
            self.seen["facts"] = assert_as_produced(conn, self.producer.log, lost)
            assert_rebuilt(conn)

    def change_the_table(self, changes: int) -> None:
        """Change the orders one by one in a table with capture triggers."""
        for _ in range(changes):
            scopes = (each.scope for each in self.orders.change(1))
            self.changed |= set().union(*(scope.partitions for scope in scopes if scope))
            self.saved()
        self.count("changes", changes)

    async def assert_table_right(self) -> None:
        """Check capture by triggers: the stale partitions equal the changed partitions."""
        await self.until(lambda: not self.one(UNREAD) and not self.one(_OPEN))
        told = self.rows("SELECT partition_key FROM data_invalidations WHERE scope <> 'dataset'")
        stale = {key for (text,) in told for key in SPACE.keys(SPACE.parse(text))}
        assert stale == self.changed, stale ^ self.changed
        with self.connect() as conn:
            assert_rebuilt(conn)

    def rows(self, query: str, *args: Any) -> list[Any]:
        with self.connect() as conn:
            return _all(conn.execute(query.encode(), args or None))

    def one(self, query: str, *args: Any) -> Any:
        [[value]] = self.rows(query, *args)
        return value

    def connect(self) -> psycopg.Connection[Any]:
        return psycopg.connect(
            self.url,
            autocommit=True,
            connect_timeout=5,
            options="-c search_path=public,knockon",
        )

    async def until(self, is_so: Callable[[], bool]) -> None:
        """Poll a condition through database outages, without actions in between."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while not _bearing_outages(is_so):
            assert time.monotonic() < deadline, f"not {is_so.__name__}: {self._state()}"
            await asyncio.sleep(0.05)

    def saved(self) -> bool:
        """Bring the table to the state of the orders."""
        with self.connect() as conn:
            self.orders.save(conn)
        return True

    def is_read(self) -> bool:
        """Check that the consumers have reached the topic's end as of the last read-back."""
        ends = {f"kafka/{p.topic}/{p.partition}": end for p, end in self.producer.ends.items()}
        reached = dict(self.rows(POSITIONS))
        return reached == reached | ends

    def _rests(self) -> bool:
        return self.is_read() and not self.one(_OPEN)  # includes the effects of read messages

    def _state(self) -> str:
        try:
            counts = self.rows("SELECT status, count(*) FROM tasks GROUP BY 1")
            positions = self.rows(POSITIONS)
        except psycopg.OperationalError as error:
            return f"the database is unavailable: {error}"
        return f"tasks {counts}, positions {positions}, ends {self.producer.ends}"


@asynccontextmanager
async def staged(
    seed: str,
    url: str,
    broker: Broker,
    directory: Path,
    *,
    source: str | None = None,
    more_jobs: str = "",
) -> AsyncIterator[Scene]:
    """A scene with the shop deployed and no running processes; orders arrive by a topic.

    With the `source` of a table, they arrive by triggers.
    """
    topic, dice = f"orders-{uuid4().hex[:8]}", Random(seed)
    told = environment(url, KNOCKON_KAFKA_BOOTSTRAP_SERVERS=broker.bootstrap_servers)
    async with producing(broker, topic, PARTITIONS) as producer:
        with processes(told, directory, {"consume": _EXPELLED_SOON}) as services:
            scene = Scene(dice, url, broker, services, producer, Orders(Random(f"{seed} orders")))
            scene.rows(TABLE.partition(";")[0])
            _deploy(services, directory / "dag.yaml", dag(source or debezium(topic), more_jobs))
            if source == POSTGRES:
                services.call("attach", "public.orders", "--dataset", "orders")
            yield scene


def _deploy(services: Processes, file: Path, text: str) -> None:
    file.write_text(text)
    services.call("deploy", str(file))


def _bearing_outages(is_so: Callable[[], bool]) -> bool:
    try:
        return is_so()
    except psycopg.OperationalError:
        return False


def _all(cursor: psycopg.Cursor[Any]) -> list[Any]:
    return cursor.fetchall() if cursor.description else []
