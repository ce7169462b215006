"""Two orgs with datasets of the same names, on shared processes.

Changes of each org arrive by a topic of its own and by HTTP. A worker over HTTP runs the tasks that
need no database.
"""

from __future__ import annotations

import asyncio
import os
import socket
import subprocess
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from http import HTTPStatus
from pathlib import Path
from random import Random
from uuid import uuid4

import httpx2
import msgspec

from engine.embedded.broker import Broker
from tests.acceptance.cli.test_worker_js import EXAMPLE, node
from tests.faults.harness import PARTITIONS, SHORT_SESSION_TIMEOUT, Harness
from tests.faults.producer import producing
from tests.faults.workload import Workload
from tests.support.processes import Processes, environment, processes
from tests.support.shop import TABLE, dag, debezium

SHARED = ("engine", "worker", "consume", "serve")
_RETRY_SECONDS = 0.1
_POSTS = """
dag: posts
jobs:
  - name: posts
    activation: source
    source: {kind: manual}
    outputs: [{dataset: posts, partitioning: {key: {dynamic: true}}}]
  - name: seen
    operator: shell
    max_attempts: 1000
    inputs: [posts]
    outputs: [{dataset: seen, partitioning: {key: {dynamic: true}}}]
    config: {command: 'true'}
"""
_MODEL = """
  - name: model
    runtime: external
    max_attempts: 1000
    inputs: [orders]
    outputs: [{dataset: model, partitioning: regional}]
"""


@dataclass
class Poster:
    """A producer over HTTP that repeats each post until it is acknowledged.

    `acknowledged` are the partition keys of the posts, which are the same in each org.
    """

    url: str
    key: str
    acknowledged: list[str] = field(default_factory=list)
    repetitions: int = 0

    async def post(self, count: int) -> None:
        """Post one partition after the other."""
        headers = {"Authorization": f"Bearer {self.key}"}
        async with httpx2.AsyncClient(base_url=self.url, headers=headers, timeout=10) as client:
            for _ in range(count):
                key = f"k{len(self.acknowledged)}"
                await self._until_acknowledged(client, key)
                self.acknowledged.append(key)

    async def _until_acknowledged(self, client: httpx2.AsyncClient, key: str) -> None:
        body = {"dataset": "posts", "partitions": [key]}
        headers = {"Idempotency-Key": f"post {key}"}
        while True:
            try:
                response = await client.post("/api/v1/invalidations", json=body, headers=headers)
            except httpx2.HTTPError:
                status = None
            else:
                status = response.status_code
            if status in (HTTPStatus.CREATED, HTTPStatus.OK):
                return
            assert status in (None, HTTPStatus.SERVICE_UNAVAILABLE), response.text
            self.repetitions += 1
            await asyncio.sleep(_RETRY_SECONDS)


class HttpWorkers:
    """Workers over HTTP, each a process with the key of an org."""

    def __init__(self, url: str, directory: Path) -> None:
        self._url = url
        self._directory = directory
        self._children: dict[str, subprocess.Popen[bytes]] = {}

    def start(self, org: str, key: str) -> None:
        env = {**os.environ, "KNOCKON_SERVER": self._url, "KNOCKON_KEY": key}
        with (self._directory / f"worker_js {org}.log").open("ab") as log:
            self._children[org] = subprocess.Popen(
                [node(), EXAMPLE / "worker.mjs"], env=env, stdout=log, stderr=log
            )

    def kill(self, org: str) -> None:
        child = self._children.pop(org)
        assert child.poll() is None, f"the worker of {org} has ended by itself"
        child.kill()
        child.wait()

    def kill_all(self) -> None:
        for org in [*self._children]:
            self.kill(org)


@dataclass
class Tenant:
    """An org, with its harness, its producer over HTTP and the key of its worker."""

    harness: Harness
    poster: Poster
    worker_key: str


@dataclass
class Tenants:
    """The orgs, their shared processes, and their workers over HTTP."""

    every: list[Tenant]
    services: Processes
    workers: HttpWorkers

    def restart_worker(self, tenant: Tenant) -> None:
        self.workers.kill(tenant.harness.org)
        self.workers.start(tenant.harness.org, tenant.worker_key)


@asynccontextmanager
async def open_tenants(
    seed: str, url: str, broker: Broker, directory: Path
) -> AsyncIterator[Tenants]:
    """Two orgs with their DAGs deployed, and no running processes."""
    address = f"127.0.0.1:{_free_port()}"
    env = environment(
        url,
        KNOCKON_KAFKA_BOOTSTRAP_SERVERS=broker.bootstrap_servers,
        KNOCKON_ORG="all",
        KNOCKON_HTTP_ADDRESS=address,
    )
    async with AsyncExitStack() as stack:
        services = stack.enter_context(
            processes(env, directory, {"consume": SHORT_SESSION_TIMEOUT})
        )
        workers = stack.enter_context(_http_workers(f"http://{address}", directory))
        every = []
        for org, schema in (("default", "public"), ("second", "second")):
            topic = f"orders-{org}-{uuid4().hex[:8]}"
            producer = await stack.enter_async_context(producing(broker, topic, PARTITIONS))
            workload = Workload(Random(f"{seed} {org}"))
            harness = Harness(
                Random(f"{seed} {org} faults"), url, broker, services, producer, workload,
                org=org, schema=schema, made=f"made_{org}",
            )  # fmt: skip
            every.append(_deployed(harness, directory, f"http://{address}"))
        yield Tenants(every, services, workers)


def _deployed(harness: Harness, directory: Path, address: str) -> Tenant:
    """Deploy the DAGs of an org, and create its keys."""
    org, call = harness.org, harness.services.call
    harness.rows(f"CREATE SCHEMA IF NOT EXISTS {harness.schema}")
    harness.rows(TABLE.partition(";")[0].replace("orders", f"{harness.schema}.orders"))
    posts, shop = directory / f"{org} posts.yaml", directory / f"{org} shop.yaml"
    posts.write_text(_POSTS)
    source = debezium(harness.producer.topic)
    shop.write_text(dag(source, _MODEL, schema=harness.schema, made=harness.made))
    call("deploy", str(posts), "--org", org)
    call("org", "set", "grants", "dag_files", "--org", org)
    call("deploy", str(shop), "--org", org)
    call("users", "add", "ann@example.com", "writer", "--org", org)
    poster = Poster(address, _key(harness, "ingest"))
    return Tenant(harness, poster, _key(harness, "worker"))


def _key(harness: Harness, scope: str) -> str:
    created = harness.services.call(
        "keys", "create", "ann@example.com", scope, "--scope", scope, "--org", harness.org, "--json"
    )
    return str(msgspec.json.decode(created)["key"])


@contextmanager
def _http_workers(url: str, directory: Path) -> Iterator[HttpWorkers]:
    workers = HttpWorkers(url, directory)
    try:
        yield workers
    finally:
        workers.kill_all()


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as free:
        return int(free.getsockname()[1])
