"""The harness of a fault: a database, a broker, service processes, and the final checks."""

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
from tests.faults.oracle import assert_matches_produced
from tests.faults.producer import Producer, producing
from tests.faults.workload import SPACE, Workload
from tests.support.processes import Processes, environment, processes
from tests.support.shop import POSTGRES, TABLE, UNREAD, assert_rebuilt, dag, debezium

SCALE = int(os.environ.get("FAULT_SCALE") or 0)
EVENTS = int(os.environ.get("EVENTS") or 20_000)
TIMEOUT_SECONDS = 300.0
PARTITIONS = 4
SERVICES = ("engine", "worker", "consume")
LOCK_WAITERS = """
SELECT count(*) FROM pg_stat_activity
WHERE datname = current_database() AND wait_event_type = 'Lock'
"""
_OPEN_WORK = """
SELECT (SELECT count(*) FROM data_invalidations WHERE processed_at IS NULL)
     + (SELECT count(*) FROM tasks WHERE status IN ('blocked', 'queued', 'running', 'failed'))
"""
POSITIONS = """
SELECT stream, split_part(position, '@', 1)::bigint FROM consumer_positions
WHERE consumer <> 'appears'
"""


SHORT_SESSION_TIMEOUT = """
from engine.embedded.broker import Broker
Broker.consumer_options = {"session_timeout_ms": 3000, "heartbeat_interval_ms": 500}
"""
"""Shorten the ten seconds after which a consumer group drops a killed member."""


long_run_only = pytest.mark.skipif(SCALE == 0, reason="`make faults` runs it")
"""Exclude a fault from `make test` to keep it short."""


def rounds(few: int) -> int:
    """Number of repetitions, in `make test` and in a long run."""
    return few * max(SCALE, 1)


@dataclass
class Harness:
    """State accessible to a fault; `observations` become its line in the report.

    `schema` has the orders of the org, and `made` the tables derived from them.
    """

    rng: Random
    url: str
    broker: Broker
    services: Processes
    producer: Producer
    workload: Workload
    observations: dict[str, Any] = field(default_factory=dict)
    changed_partitions: set[str] = field(default_factory=set)
    org: str = "default"
    schema: str = "public"
    made: str = "made"

    def count(self, label: str, increment: int = 1) -> None:
        self.observations[label] = self.observations.get(label, 0) + increment

    async def produce(self, changes: int) -> None:
        """Change the orders, and send their messages."""
        messages = self.workload.change(changes)
        await self.until(self.saved)
        await self.producer.send(messages)
        self.count("messages", len(messages))

    async def wait_until_idle(self) -> None:
        """Return once all produced messages are ingested, planned and processed."""
        await self.producer.read_back()
        await self.until(self._is_idle)

    async def assert_consistent(self, *lost: str) -> None:
        """Wait until idle, and compare all tables with the produced messages."""
        await self.wait_until_idle()
        with self.connect() as conn:
            self.observations["invalidations"] = assert_matches_produced(
                conn, self.producer.log, lost, self.org
            )
            assert_rebuilt(conn, self.made)

    def change_captured_table(self, changes: int) -> None:
        """Change the orders one by one in a table with capture triggers."""
        for _ in range(changes):
            scopes = (message.scope for message in self.workload.change(1))
            self.changed_partitions |= set().union(*(scope.partitions for scope in scopes if scope))
            self.saved()
        self.count("changes", changes)

    async def assert_captured_table_consistent(self) -> None:
        """Check capture by triggers: the stale partitions equal the changed partitions."""
        await self.until(lambda: not self.scalar(UNREAD) and not self.scalar(_OPEN_WORK))
        rows = self.rows("SELECT partition_key FROM data_invalidations WHERE scope <> 'dataset'")
        stale = {key for (text,) in rows for key in SPACE.keys(SPACE.parse(text))}
        assert stale == self.changed_partitions, stale ^ self.changed_partitions
        with self.connect() as conn:
            assert_rebuilt(conn)

    def rows(self, query: str, *args: Any) -> list[Any]:
        with self.connect() as conn:
            return _all(conn.execute(query.encode(), args or None))

    def scalar(self, query: str, *args: Any) -> Any:
        [[value]] = self.rows(query, *args)
        return value

    def connect(self) -> psycopg.Connection[Any]:
        return psycopg.connect(
            self.url,
            autocommit=True,
            connect_timeout=5,
            options=f"-c search_path={self.schema},knockon",
        )

    async def until(self, condition: Callable[[], bool]) -> None:
        """Poll a condition, counting database outages as false."""
        deadline = time.monotonic() + TIMEOUT_SECONDS
        while not _false_during_outages(condition):
            assert time.monotonic() < deadline, f"not {condition.__name__}: {self._state()}"
            await asyncio.sleep(0.05)

    def saved(self) -> bool:
        """Write the workload's rows to the table. Always true, for use as a condition."""
        with self.connect() as conn:
            self.workload.save(conn)
        return True

    def is_consumed(self) -> bool:
        """Check that the consumers have reached the topic's end as of the last read-back."""
        ends = {f"kafka/{p.topic}/{p.partition}": end for p, end in self.producer.ends.items()}
        reached = dict(self.rows(POSITIONS))
        return reached == reached | ends

    def _is_idle(self) -> bool:
        # Order matters: the open work then includes the effects of all consumed messages.
        return self.is_consumed() and not self.scalar(_OPEN_WORK)

    def _state(self) -> str:
        try:
            counts = self.rows("SELECT status, count(*) FROM tasks GROUP BY 1")
            positions = self.rows(POSITIONS)
        except psycopg.OperationalError as error:
            return f"the database is unavailable: {error}"
        return f"tasks {counts}, positions {positions}, ends {self.producer.ends}"


@asynccontextmanager
async def open_harness(
    seed: str,
    url: str,
    broker: Broker,
    directory: Path,
    *,
    source: str | None = None,
    more_jobs: str = "",
) -> AsyncIterator[Harness]:
    """A harness with the shop deployed and no running processes; orders arrive by a topic.

    With the `source` of a table, they arrive by triggers.
    """
    topic, rng = f"orders-{uuid4().hex[:8]}", Random(seed)
    env = environment(url, KNOCKON_KAFKA_BOOTSTRAP_SERVERS=broker.bootstrap_servers)
    async with producing(broker, topic, PARTITIONS) as producer:
        with processes(env, directory, {"consume": SHORT_SESSION_TIMEOUT}) as services:
            harness = Harness(
                rng, url, broker, services, producer, Workload(Random(f"{seed} orders"))
            )
            harness.rows(TABLE.partition(";")[0])
            _deploy(services, directory / "dag.yaml", dag(source or debezium(topic), more_jobs))
            if source == POSTGRES:
                services.call("attach", "public.orders", "--dataset", "orders")
            yield harness


def _deploy(services: Processes, file: Path, text: str) -> None:
    file.write_text(text)
    services.call("deploy", str(file))


def _false_during_outages(condition: Callable[[], bool]) -> bool:
    try:
        return condition()
    except psycopg.OperationalError:
        return False


def _all(cursor: psycopg.Cursor[Any]) -> list[Any]:
    return cursor.fetchall() if cursor.description else []
