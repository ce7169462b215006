"""Run one task, from lease to recorded outcome."""

import asyncio
import traceback
from collections.abc import Mapping

import structlog

from engine.errors import InvalidInput, InvalidOutput, LeaseLost, TaskFailed
from engine.model.states import TaskStatus
from engine.model.task import Lease
from engine.monitor.metrics import TASK_ATTEMPTS, TASK_SECONDS, WORKER_RUNNING
from engine.secrets import redacted
from engine.worker.client import Client
from engine.worker.context import Context, Result
from engine.worker.openlineage import Emit, RunEvent, discard
from engine.worker.operators import operator_named
from engine.worker.runtimes import Runtime

_log = structlog.get_logger(__name__)


async def run_task(
    client: Client, context: Context, runtimes: Mapping[str, Runtime], emit: Emit = discard
) -> None:
    """Run a task and record the outcome; errors of the task do not propagate.

    Cancellation hands the task back.
    """
    with WORKER_RUNNING.track_inprogress():
        await _attempt(client, context, runtimes, emit)


async def _attempt(
    client: Client, context: Context, runtimes: Mapping[str, Runtime], emit: Emit
) -> None:
    lease = context.lease
    log = _log.bind(job=lease.job.name, task=str(lease.task_id), attempt=lease.attempt)
    emit(RunEvent("START", lease))
    try:
        async with client.running(lease, context.log.text):
            result = await _run(context, runtimes) or Result(is_recorded=True)
            if not result.is_recorded:
                log_text = context.log.text()
                await client.complete(lease, result.outputs, result.cursors, log=log_text)
        emit(RunEvent("COMPLETE", lease, result.outputs))
        _count(lease, TaskStatus.SUCCEEDED)
        log.info("task succeeded", partitions=len(lease.partitions))
    except LeaseLost as error:
        emit(RunEvent("ABORT", lease))
        _count(lease, "lost")
        log.warning("task lost", why=str(error))
        if text := context.log.text():
            await client.add_log(lease, text)
    except asyncio.CancelledError:
        emit(RunEvent("ABORT", lease))
        _count(lease, "stopped")
        log.warning("task handed back: the worker is stopping")
        await _fail(client, context, f"worker {lease.worker_id!r} was stopped")
        raise
    except Exception as error:
        _count(lease, TaskStatus.FAILED)
        text = redacted(_message(error))
        retryable = not isinstance(error, InvalidInput | InvalidOutput)
        log.warning("task failed", why=redacted(str(error)))
        emit(RunEvent("FAIL", lease, error=text))
        await _fail(client, context, text, retryable=retryable)


async def _run(context: Context, runtimes: Mapping[str, Runtime]) -> Result | None:
    job = context.lease.job
    scope = asyncio.timeout(job.timeout_seconds)
    try:
        with TASK_SECONDS.labels(job.operator).time():
            async with scope:
                return await runtimes[job.runtime].run(operator_named(job.operator), context)
    except TimeoutError as error:
        if not scope.expired():
            raise
        raise TaskFailed(
            f"the run took longer than the job's timeout of {job.timeout_seconds} seconds"
        ) from error


def _count(lease: Lease, outcome: str) -> None:
    TASK_ATTEMPTS.labels(lease.job.operator, outcome).inc()


async def _fail(client: Client, context: Context, error: str, *, retryable: bool = True) -> None:
    lease = context.lease
    try:
        await client.fail(lease, error, retryable=retryable, log=context.log.text())
    except LeaseLost:
        _log.info("could not record the failure: the lease was lost", task=str(lease.task_id))


def _message(error: Exception) -> str:
    """Return the message of a deliberate error, and the traceback of any other."""
    if isinstance(error, TaskFailed | InvalidInput):
        return str(error)
    return "".join(traceback.format_exception(error))
