"""A worker reports its runs to OpenLineage; no task waits for a report or fails with it."""

import asyncio
import sys
from collections import defaultdict
from itertools import chain, repeat
from pathlib import Path
from threading import Event
from types import ModuleType
from typing import Any

import msgspec
import pytest

from engine.errors import InvalidInput, LeaseLost, TaskFailed
from engine.monitor.metrics import OPENLINEAGE_EVENTS
from engine.settings import Settings
from engine.store.database import Database
from engine.store.notifications import TASKS, notify
from engine.worker import Context
from engine.worker.openlineage.emitter import Emitter, event_emitter
from engine.worker.openlineage.run_event import RunEvent
from engine.worker.openlineage.sinks import sink_at
from tests.support.openlineage import Receiver, check, lease, receiving
from tests.support.workers import sql_job, worker
from tests.support.worlds import World, job, source

DAY = "2013-02-13"
NOBODY = "http://127.0.0.1:9"


def counted(outcome: str) -> float:
    """Number of events with this outcome in this process."""
    return OPENLINEAGE_EVENTS.labels(outcome)._value.get()  # type: ignore[no-any-return]


def kinds(receiver: Receiver, count: int) -> list[tuple[str, str]]:
    """The next events: job and kind."""
    events = [receiver.next() for _ in range(count)]
    for each in events:
        check(each)
    return [(each["job"]["name"], each["eventType"]) for each in events]


@pytest.fixture
def module(monkeypatch: pytest.MonkeyPatch) -> Any:
    module = ModuleType("jobs_of_test")
    monkeypatch.setitem(sys.modules, "jobs_of_test", module)
    return module


async def _run(world: World, until: Any, **settings: Any) -> None:
    """Run a worker on queued tasks until a condition holds."""
    stop = asyncio.Event()
    async with asyncio.timeout(60), asyncio.TaskGroup() as group:
        group.create_task(worker(world, **settings).run(stop))
        async with world.conn() as conn:
            await notify(conn, TASKS, world.org.id)
        await until()
        stop.set()


async def test_every_attempt_of_every_operator_emits_events(
    database: Database, module: Any
) -> None:
    attempts: dict[str, int] = defaultdict(int)

    def fails_once(context: Context) -> None:
        attempts[context.lease.block_key] += 1
        if attempts[context.lease.block_key] == 1:
            raise TaskFailed("not yet")

    module.run = fails_once
    async with database.connection() as conn:
        await conn.execute("CREATE TABLE orders (id int, dt date)")
        await conn.execute(f"INSERT INTO orders VALUES (1, '{DAY}'), (2, '{DAY}')".encode())
    world = await World.made(
        database,
        source("orders"),
        sql_job("listed", "orders", sql="SELECT id, dt FROM orders"),
        job("told", "listed", config={"callable": "jobs_of_test:run"}),
    )
    await world.changed("orders", DAY)

    with receiving() as receiver:
        events: list[dict[str, Any]] = []

        async def all_told() -> None:
            events.extend([await asyncio.to_thread(receiver.next) for _ in range(6)])

        await _run(world, all_told, openlineage_url=receiver.url, openlineage_api_key="secret")

    for each in events:
        check(each)
    assert [(each["job"]["name"], each["eventType"]) for each in events] == [
        ("w.listed", "START"),
        ("w.listed", "COMPLETE"),
        ("w.told", "START"),
        ("w.told", "FAIL"),
        ("w.told", "START"),
        ("w.told", "COMPLETE"),
    ]
    runs = [each["run"]["runId"] for each in events]
    assert runs[0] == runs[1]
    assert runs[2] == runs[3]
    assert len(set(runs)) == 3
    made = events[1]["outputs"][0]
    assert made["outputFacets"]["outputStatistics"]["rowCount"] == 2
    assert made["facets"]["columnLineage"]["fields"]["id"]["inputFields"] == [
        {"namespace": "knockon://default", "name": "orders", "field": "id"}
    ]
    assert events[3]["run"]["facets"]["errorMessage"]["message"] == "not yet"
    assert set(receiver.asked) == {("/api/v1/lineage", "Bearer secret")}


async def test_a_returned_task_emits_an_abort(database: Database, module: Any) -> None:
    started = asyncio.Event()

    async def hangs(context: Context) -> None:
        started.set()
        await asyncio.Event().wait()

    module.run = hangs
    world = await World.made(
        database,
        source("orders"),
        job("made", "orders", config={"callable": "jobs_of_test:run"}),
    )
    await world.changed("orders", DAY)

    with receiving() as receiver:
        await _run(world, started.wait, openlineage_url=receiver.url, grace_seconds=0.0)

        assert kinds(receiver, 2) == [("w.made", "START"), ("w.made", "ABORT")]


async def test_a_lost_lease_emits_an_abort(database: Database, module: Any) -> None:
    def loses(context: Context) -> None:
        raise LeaseLost("gone")

    module.run = loses
    world = await World.made(
        database,
        source("orders"),
        job("made", "orders", config={"callable": "jobs_of_test:run"}),
    )
    await world.changed("orders", DAY)

    with receiving() as receiver:
        found: list[tuple[str, str]] = []

        async def told() -> None:
            found.extend(await asyncio.to_thread(kinds, receiver, 2))

        await _run(world, told, openlineage_url=receiver.url)

    assert found == [("w.made", "START"), ("w.made", "ABORT")]


async def test_tasks_succeed_without_a_receiver_of_events(database: Database, module: Any) -> None:
    ended = asyncio.Event()

    async def works(context: Context) -> None:
        ended.set()

    module.run = works
    world = await World.made(
        database,
        source("orders"),
        job("made", "orders", config={"callable": "jobs_of_test:run"}),
    )
    await world.changed("orders", DAY)
    before = counted("dropped")

    await _run(world, ended.wait, openlineage_url=NOBODY)

    assert await world.tasks() == {"succeeded": ["made[2013-02-13]"]}
    assert counted("dropped") == before + 2


def test_events_refused_temporarily_are_sent_again_in_order() -> None:
    with receiving() as receiver:
        answers = chain([503, 429], repeat(201))
        receiver.answer = lambda: next(answers)
        emitter = Emitter(sink_at(receiver.url + "/events"), "n")
        for kind in ("START", "COMPLETE"):
            emitter.emit(RunEvent(kind, lease("*", partitioning="{}")))

        assert kinds(receiver, 2) == [("shop.daily", "START"), ("shop.daily", "COMPLETE")]
        assert [path for path, _ in receiver.asked] == ["/events"] * 4
        emitter.close()


def test_events_rejected_by_the_receiver_are_dropped() -> None:
    before = counted("dropped")
    with receiving() as receiver:
        answers = chain([400], repeat(200))
        receiver.answer = lambda: next(answers)
        emitter = Emitter(sink_at(receiver.url), "n")
        for kind in ("START", "COMPLETE"):
            emitter.emit(RunEvent(kind, lease("*", partitioning="{}")))

        assert kinds(receiver, 1) == [("shop.daily", "COMPLETE")]
        emitter.close()
    assert counted("dropped") == before + 1


def test_an_event_that_cannot_be_built_does_not_stop_others() -> None:
    before = counted("dropped")
    broken = lease("*", lineage={"no": "lineage"}, partitioning="{}")
    with receiving() as receiver:
        emitter = Emitter(sink_at(receiver.url), "n")
        emitter.emit(RunEvent("START", broken))
        emitter.emit(RunEvent("START", lease("*", partitioning="{}")))

        assert kinds(receiver, 1) == [("shop.daily", "START")]
        emitter.close()
    assert counted("dropped") == before + 1


def test_a_full_queue_drops_new_events_without_waiting() -> None:
    before, asked, answer = counted("dropped"), Event(), Event()
    one = lease("*", partitioning="{}")

    def slowly() -> int:
        asked.set()
        answer.wait(30)
        return 200

    with receiving() as receiver:
        receiver.answer = slowly
        emitter = Emitter(sink_at(receiver.url), "n", most_waiting=2)
        emitter.emit(RunEvent("START", one))
        assert asked.wait(30)  # the first event is in transit
        for _ in range(5):
            emitter.emit(RunEvent("COMPLETE", one))
        dropped = counted("dropped") - before
        answer.set()
        got = kinds(receiver, 3)
        emitter.close()

    assert dropped == 3
    assert [kind for _, kind in got] == ["START", "COMPLETE", "COMPLETE"]


def test_queued_events_are_sent_on_close() -> None:
    with receiving() as receiver:
        emitter = Emitter(sink_at(receiver.url), "n")
        for _ in range(20):
            emitter.emit(RunEvent("START", lease("*", partitioning="{}")))
        emitter.close()

        assert receiver.got.qsize() == 20


async def test_a_file_receives_one_event_per_line(tmp_path: Path) -> None:
    file = tmp_path / "of tasks.ndjson"
    settings = Settings(
        openlineage_url=file.as_uri(), org="acme", openlineage_namespace="our://place"
    )
    async with event_emitter(settings) as emit:
        emit(RunEvent("START", lease("*", partitioning="{}")))
    async with event_emitter(settings) as emit:
        emit(RunEvent("FAIL", lease("*", partitioning="{}"), error="no"))

    lines = [msgspec.json.decode(line) for line in file.read_bytes().splitlines()]
    assert [each["eventType"] for each in lines] == ["START", "FAIL"]
    assert {each["job"]["namespace"] for each in lines} == {"our://place"}


@pytest.mark.parametrize(
    "url", ["lineage:5000", "ftp://host/x", "file://host/x", "http://", "file:///no/such/dir/x"]
)
async def test_an_invalid_address_is_rejected_at_startup(url: str) -> None:
    with pytest.raises(InvalidInput, match="events"):
        async with event_emitter(Settings(openlineage_url=url)):
            pass
