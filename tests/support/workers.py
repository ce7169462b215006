"""Execution of a world's tasks by the real operators."""

from dataclasses import replace
from typing import Any

import msgspec

from engine.model.task import Lease
from engine.settings import Settings
from engine.worker import Context, Worker
from engine.worker.operators import operator_named
from tests.support.worlds import World, job


def sql_job(name: str, *inputs: Any, sql: Any, **more: Any) -> dict[str, Any]:
    """A job of the sql operator."""
    return job(name, *inputs, operator="sql", config={"sql": sql}, **more)


def with_config(lease: Lease, **config: Any) -> Lease:
    """The lease with another job configuration; the shared job stays unchanged."""
    return replace(lease, job=msgspec.structs.replace(lease.job, config=config))


async def run_lease(world: World, lease: Lease) -> None:
    """Run one task by its operator, which must complete the task in its own transaction."""
    result = await operator_named(lease.job.operator).run(context(world, lease))
    assert result is not None
    assert result.is_recorded


async def work(world: World) -> None:
    """Run all queued tasks, including tasks queued as a result."""
    while leases := await world.claim():
        for lease in leases:
            await run_lease(world, lease)


def context(world: World, lease: Lease) -> Context:
    """The argument of an operator's run."""
    return Context(lease, world.database, world.org)


def worker(world: World, name: str = "w1", **more: Any) -> Worker:
    """A worker with a short polling interval, to keep the tests fast."""
    grace_seconds = more.pop("grace_seconds", 20.0)
    settings = Settings(**{"poll_seconds": 0.05, **more})
    return Worker(world.database, world.org, settings, worker_id=name, grace_seconds=grace_seconds)
