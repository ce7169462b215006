"""The python operator: callables of every kind, and their failures."""

import asyncio
import logging
import sys
import threading
from types import ModuleType
from typing import Any

import pytest

from engine.errors import InvalidInput, TaskFailed
from engine.model.task import Output
from engine.store.database import Database
from engine.worker import Context, Result
from engine.worker.operators.python import Python
from tests.support.workers import context
from tests.support.worlds import World, job, source


@pytest.fixture
def code(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """A module for callables, importable as `jobs_of_test`."""
    module = ModuleType("jobs_of_test")
    monkeypatch.setitem(sys.modules, "jobs_of_test", module)
    return module


async def _context(database: Database, **config: Any) -> Context:
    world = await World.made(
        database,
        source("orders"),
        job("made", "orders", config={"callable": "jobs_of_test:run"} | config),
    )
    await world.changed("orders", "2013-02-13")
    (lease,) = await world.claim()
    return context(world, lease)


MADE = Output("made", "2013-02-13", row_count=3)


@pytest.mark.parametrize(
    "returned",
    [
        MADE,
        [MADE],
        Result((MADE,)),
        {"outputs": [{"dataset": "made", "partition": "2013-02-13", "row_count": 3}]},
    ],
)
async def test_every_way_to_report_outputs(
    database: Database, code: ModuleType, returned: object
) -> None:
    code.run = lambda _: returned  # type: ignore[attr-defined]

    assert await Python().run(await _context(database)) == Result((MADE,))


async def test_a_function_runs_in_a_thread_with_its_arguments(
    database: Database, code: ModuleType
) -> None:
    seen: list[Any] = []

    def run(task: Context, *, factor: int) -> None:
        window = task.window(task.partitions[0])["dt"]
        needed = task.needs("orders", "2013-02-13")
        needs = needed.space.texts(needed)
        seen.extend([threading.current_thread(), factor, task.table("orders"), needs])
        seen.append(window.end - window.start)  # type: ignore[operator]

    code.run = run  # type: ignore[attr-defined]
    assert await Python().run(await _context(database, kwargs={"factor": 7})) == Result()

    thread, *rest = seen
    assert thread is not threading.main_thread()
    assert rest[:3] == [7, "orders", ["2013-02-13"]]
    assert rest[3].days == 1


async def test_a_function_receives_the_existing_partitions_of_an_input(database: Database) -> None:
    both = "2013-02-12", "2013-02-13"
    world = await World.made(
        database,
        source("orders"),
        source("other"),
        job("copy", "orders"),
        job("made", "copy", "other"),
    )
    await world.changed("other", *both)
    await world.changed("orders", "2013-02-13")
    await world.run()
    await world.changed("other", *both)

    needed = [
        lease_context.needs(alias, lease_context.partitions[0])
        for lease_context in [context(world, lease) for lease in await world.claim()]
        for alias in ("copy", "other")
    ]

    texts = sorted(keys.space.texts(keys) for keys in needed)
    assert texts == [[], ["2013-02-12"], ["2013-02-13"], ["2013-02-13"]]


async def test_a_coroutine_function_runs_in_the_loop(database: Database, code: ModuleType) -> None:
    async def run(task: Context) -> list[Output]:
        async with task.database.connection() as conn:
            await conn.execute("SELECT 1")
        return [Output("made", task.partitions[0], row_count=3)]

    code.run = run  # type: ignore[attr-defined]
    assert await Python().run(await _context(database)) == Result((MADE,))


async def test_an_exception_fails_the_attempt_with_its_traceback(
    database: Database, code: ModuleType
) -> None:
    def run(_: Context) -> None:
        raise ZeroDivisionError("of all things")

    code.run = run  # type: ignore[attr-defined]
    with pytest.raises(TaskFailed, match=r"(?s)Traceback.*in run.*of all things"):
        await Python().run(await _context(database))


async def test_a_function_that_exits_does_not_stop_the_worker(
    database: Database, code: ModuleType
) -> None:
    async def leave(_: Context) -> None:
        sys.exit(3)

    task = await _context(database)
    for function in (lambda _: sys.exit(3), leave, lambda _: next(iter(()))):
        code.run = function  # type: ignore[attr-defined]
        with pytest.raises(TaskFailed, match=r"SystemExit|StopIteration"):
            await Python().run(task)


async def test_a_cancelled_run_does_not_wait_for_its_thread(
    database: Database, code: ModuleType
) -> None:
    hanging, release = threading.Event(), threading.Event()

    def run(_: Context) -> None:
        hanging.set()
        release.wait()

    code.run = run  # type: ignore[attr-defined]
    running = asyncio.create_task(Python().run(await _context(database)))
    await asyncio.to_thread(hanging.wait)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    release.set()


@pytest.mark.parametrize("path", ["nowhere_at_all:run", "jobs_of_test:absent", "jobs_of_test", 7])
async def test_a_missing_callable_is_rejected(
    database: Database, code: ModuleType, path: object
) -> None:
    with pytest.raises(InvalidInput, match="job 'made'"):
        await Python().run(await _context(database, callable=path))


async def test_an_unreadable_report_fails_the_attempt(database: Database, code: ModuleType) -> None:
    code.run = lambda _: {"outputs": [{"dataset": 7}]}  # type: ignore[attr-defined]
    with pytest.raises(TaskFailed, match="report of the run is malformed"):
        await Python().run(await _context(database))


def _prints(_: Context) -> None:
    print("printed \x1b[31mred")
    print("to stderr", file=sys.stderr)
    logging.getLogger("of.the.job").warning("logged %s", 7)


async def _prints_async(task: Context) -> None:
    await asyncio.sleep(0)
    _prints(task)


@pytest.mark.parametrize("function", [_prints, _prints_async])
async def test_the_log_is_what_the_function_prints_and_logs(
    database: Database,
    code: ModuleType,
    capfd: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
    function: Any,
) -> None:
    caplog.set_level(logging.WARNING)  # a command that ran in this process may have raised it
    code.run = function  # type: ignore[attr-defined]
    before = sys.stdout, sys.stderr
    task = await _context(database)
    await Python().run(task)

    printed, error, logged = task.log.text().splitlines()
    assert (printed, error) == ("printed \x1b[31mred", "to stderr")
    assert logged.endswith(" WARNING of.the.job: logged 7")
    assert (sys.stdout, sys.stderr) == before
    assert "printed" in capfd.readouterr().out


async def test_a_failed_function_has_a_log(database: Database, code: ModuleType) -> None:
    def run(_: Context) -> None:
        print("half of it")
        raise ZeroDivisionError

    code.run = run  # type: ignore[attr-defined]
    task = await _context(database)
    with pytest.raises(TaskFailed):
        await Python().run(task)
    assert task.log.text() == "half of it\n"


@pytest.mark.parametrize("is_async", [False, True])
async def test_concurrent_runs_have_separate_logs(
    database: Database, code: ModuleType, is_async: bool
) -> None:
    barrier, event, tasks = threading.Barrier(2), asyncio.Event(), []

    def run(task: Context) -> None:
        print("begin", task.lease.block_key)
        barrier.wait(60)
        print("end", task.lease.block_key)

    async def run_async(task: Context) -> None:
        print("begin", task.lease.block_key)
        tasks.append(task)
        if len(tasks) == 2:
            event.set()
        await event.wait()
        print("end", task.lease.block_key)

    code.run = run_async if is_async else run  # type: ignore[attr-defined]
    days = "2013-02-13", "2013-02-14"
    world = await World.made(
        database, source("orders"), job("made", "orders", config={"callable": "jobs_of_test:run"})
    )
    await world.changed("orders", *days)
    runs = [context(world, lease) for lease in await world.claim()]
    await asyncio.gather(*(Python().run(task) for task in runs))
    assert sorted(task.log.text() for task in runs) == [f"begin {day}\nend {day}\n" for day in days]
