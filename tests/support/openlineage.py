"""Leases to report, a receiver of events, and validation by the official client's classes."""

import importlib
import pkgutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from queue import Queue
from threading import Thread
from typing import Any
from uuid import UUID

import msgspec
from openlineage.client import generated
from openlineage.client.event_v2 import Job as OfficialJob
from openlineage.client.event_v2 import Run, RunEvent, RunState
from openlineage.client.generated.base_subset_dataset import Partition, PartitionSubsetCondition
from openlineage.client.generated.column_lineage_dataset import Fields, InputField
from openlineage.client.generated.schema_dataset import SchemaDatasetFacetFields

from engine.model.dataset import Dataset
from engine.model.job import Job, JobInput
from engine.model.task import Lease

TASK = UUID("01941f29-7c00-7087-8906-40e512c257bd")
DAILY = '{"dt":{"time":"day","zone":"America/New_York"},"region":{"static":["eu west","us"]}}'


def lease(*partitions: str, lineage: Any = None, partitioning: str = DAILY) -> Lease:
    """A task that makes some partitions of `sales` out of `orders`."""
    orders = Dataset(UUID(int=1), UUID(int=2), "orders", partitioning, ("dt", "id", "amount"))
    sales = Dataset(UUID(int=3), UUID(int=4), "sales", partitioning, ("dt", "total"))
    job = Job(
        UUID(int=5),
        "daily",
        "shop",
        "reactive",
        "PerPartition",
        (JobInput(orders.id, "orders", "o"), JobInput(orders.id, "orders", "again")),
        (sales.id,),
        columns=None if lineage is None else msgspec.json.encode(lineage).decode(),
    )
    return Lease(
        TASK,
        UUID(int=6),
        job,
        block_key=partitions[0],
        partitions=partitions,
        attempt=2,
        expires_at=datetime(2026, 1, 1, tzinfo=UTC),
        worker_id="w1",
        inputs={"o": orders, "again": orders},
        outputs=(sales,),
    )


@dataclass
class Receiver:
    """HTTP server for events. ``answer`` gives the status for each; ``got`` has accepted events."""

    url: str = ""
    answer: Callable[[], int] = lambda: 201
    got: Queue[dict[str, Any]] = field(default_factory=Queue)
    asked: list[tuple[str, str | None]] = field(default_factory=list)

    def next(self) -> dict[str, Any]:
        return self.got.get(timeout=30)


@contextmanager
def receiving() -> Iterator[Receiver]:
    """Run a server that receives events."""
    receiver = Receiver()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            receiver.asked.append((self.path, self.headers["Authorization"]))
            status = receiver.answer()
            if status < 300:
                receiver.got.put(msgspec.json.decode(body))
            self.send_response(status)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        receiver.url = f"http://127.0.0.1:{server.server_port}"
        Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        try:
            yield receiver
        finally:
            server.shutdown()


def check(event: Mapping[str, Any]) -> None:
    """Rebuild the event from the official client's classes, which reject unspecified fields."""
    RunEvent(
        eventType=RunState[event["eventType"]],
        eventTime=event["eventTime"],
        run=Run(event["run"]["runId"]),
        job=OfficialJob(event["job"]["namespace"], event["job"]["name"]),
        producer=event["producer"],
    )
    assert event["schemaURL"] == RunEvent._get_schema()
    for owner in (event["run"], event["job"], *event["inputs"], *event["outputs"]):
        for name, facet in {**owner["facets"], **owner.get("outputFacets", {})}.items():
            if name != "knockon_task":
                _check_facet(facet)


def _check_facet(facet: Mapping[str, Any]) -> None:
    fields = {name: each for name, each in facet.items() if name[0] != "_"}
    _official()[facet["_schemaURL"]](**fields)
    for lineage in facet.get("fields", ()) if isinstance(facet.get("fields"), dict) else ():
        for each in Fields(**facet["fields"][lineage]).inputFields:
            InputField(**each)
    for each in facet.get("dataset", ()):
        InputField(**each)
    for column in facet.get("fields", ()) if isinstance(facet.get("fields"), list) else ():
        SchemaDatasetFacetFields(**column)
    if condition := facet.get("outputCondition"):
        for each in PartitionSubsetCondition(**condition).partitions:
            Partition(**each)


@cache
def _official() -> Mapping[str, Callable[..., Any]]:
    """The official classes, by the address of their schema."""
    modules = [
        importlib.import_module(f"{generated.__name__}.{each.name}")
        for each in pkgutil.iter_modules(generated.__path__)
    ]
    classes = [each for module in modules for each in vars(module).values()]
    return {each._get_schema(): each for each in classes if hasattr(each, "_get_schema")}
