"""The python operator: a callable, given the run's `Context`."""

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
from engine.worker.project_code import check_project_code, project_code

T = TypeVar("T")


class Python:
    """Calls ``config.callable``, ``package.module:function``, with ``config.kwargs``."""

    async def run(self, context: Context) -> Result:
        """See `Operator`. A function runs in a thread of its own, a coroutine function here."""
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
            "where the worker runs, or mend the name"
        ) from error


def _check_code(job: Job, module: str) -> None:
    """Compare the code with that of the deploy, and remember it as it is imported."""
    if job.code is not None:
        check_project_code(msgspec.json.decode(job.code, type=dict[str, str]))
    else:
        with suppress(InvalidInput):
            project_code(module)


async def _call(function: Callable[..., Any], context: Context, kwargs: Mapping[str, Any]) -> Any:
    if inspect.iscoroutinefunction(function):
        with _as_failure():
            return await function(context, **kwargs)
    return await _in_thread(lambda: _guarded(function, context, kwargs))


def _guarded(function: Callable[..., Any], context: Context, kwargs: Mapping[str, Any]) -> Any:
    with _as_failure():
        return function(context, **kwargs)


@contextmanager
def _as_failure() -> Iterator[None]:
    """Whatever the job's code raises fails its attempt, and nothing but that."""
    try:
        yield
    except KnockonError:
        raise
    except (Exception, SystemExit) as error:
        raise TaskFailed(traceback.format_exc()) from error


async def _in_thread(work: Callable[[], T]) -> T:
    """Do ``work`` in a daemon thread: one that hangs keeps neither a pool nor the process."""
    loop = asyncio.get_running_loop()
    future: asyncio.Future[T] = loop.create_future()

    def settle(settle_with: Callable[[Any], None], value: object) -> None:
        if not future.done():
            settle_with(value)

    def body() -> None:
        try:
            done: tuple[Callable[[Any], None], object] = future.set_result, work()
        except BaseException as error:
            done = future.set_exception, error
        if not loop.is_closed():
            loop.call_soon_threadsafe(settle, *done)

    Thread(target=body, daemon=True, name="knockon-python").start()
    return await future


def _result(returned: object) -> Result:
    if returned is None:
        return Result()
    if isinstance(returned, Result):
        return returned
    if isinstance(returned, Output):
        return Result((returned,))
    if isinstance(returned, Sequence) and all(isinstance(each, Output) for each in returned):
        return Result(tuple(returned))
    return read_outputs(returned)
