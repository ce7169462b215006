"""The python operator: call a function with the run's `Context`."""

import asyncio
import inspect
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from importlib import import_module
from threading import Thread
from typing import Any, TypeVar

import msgspec

from engine.errors import InvalidInput, KnockonError, TaskFailed
from engine.model.job import Job
from engine.model.task import Output
from engine.secrets import resolve
from engine.worker.context import Context, Result
from engine.worker.operators.report import read_outputs
from engine.worker.output_capture import captured
from engine.worker.project_code import check_project_code, project_code

T = TypeVar("T")


class Python:
    """Call ``config.callable``, ``package.module:function``, with ``config.kwargs``."""

    async def run(self, context: Context) -> Result:
        """See `Operator`. Functions run in a new thread, coroutine functions in the event loop."""
        function, kwargs = _callable(context.lease.job)
        return _result(await _call(function, context, kwargs))


def _callable(job: Job) -> tuple[Callable[..., Any], Mapping[str, Any]]:
    path, kwargs = job.config.get("callable"), job.config.get("kwargs", {})
    module, colon, name = str(path).partition(":")
    if not colon or not isinstance(kwargs, dict):
        raise InvalidInput(
            f"job {job.name!r}: write config.callable as package.module:function, and "
            "config.kwargs as a mapping"
        )
    _check_code(job, module)
    try:
        return getattr(import_module(module), name), resolve(kwargs)
    except (ImportError, AttributeError) as error:
        raise InvalidInput(
            f"job {job.name!r}: {path} cannot be imported here ({error}): install its package "
            "where the worker runs, add its directory to the worker's KNOCKON_CODE_PATH, or "
            "correct config.callable"
        ) from error


def _check_code(job: Job, module: str) -> None:
    """Compare the code with the deployed code; without a deployed hash, only record the code."""
    if job.code is not None:
        check_project_code(msgspec.json.decode(job.code, type=dict[str, str]))
    else:
        with suppress(InvalidInput):
            project_code(module)


async def _call(function: Callable[..., Any], context: Context, kwargs: Mapping[str, Any]) -> Any:
    if inspect.iscoroutinefunction(function):
        with captured(context.log), _as_failure():
            return await function(context, **kwargs)

    def call() -> Any:
        with captured(context.log), _as_failure():
            return function(context, **kwargs)

    return await _in_thread(call)


@contextmanager
def _as_failure() -> Iterator[None]:
    """Convert every exception of the job's code to TaskFailed, even SystemExit."""
    try:
        yield
    except KnockonError:
        raise
    except (Exception, SystemExit) as error:
        raise TaskFailed(traceback.format_exc()) from error


async def _in_thread(work: Callable[[], T]) -> T:
    """Run ``work`` in a daemon thread: if it hangs, it blocks neither a pool nor the exit."""
    loop = asyncio.get_running_loop()
    future: asyncio.Future[T] = loop.create_future()

    def resolve_future(setter: Callable[[Any], None], value: object) -> None:
        if not future.done():
            setter(value)

    def body() -> None:
        try:
            outcome: tuple[Callable[[Any], None], object] = future.set_result, work()
        except BaseException as error:
            outcome = future.set_exception, error
        if not loop.is_closed():
            loop.call_soon_threadsafe(resolve_future, *outcome)

    Thread(target=body, daemon=True, name="knockon-python").start()
    return await future


def _result(returned: object) -> Result:
    if returned is None:
        return Result()
    if isinstance(returned, Result):
        return returned
    if isinstance(returned, Output):
        return Result((returned,))
    if isinstance(returned, Sequence) and all(isinstance(item, Output) for item in returned):
        return Result(tuple(returned))
    return read_outputs(returned)
