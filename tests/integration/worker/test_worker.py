"""The worker's loop: lost leases, invalid jobs, outages and shutdown."""

import asyncio
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import psycopg
import pytest

from engine.errors import InvalidInput, LeaseLost, UnknownName
from engine.flow.execution.cancel import cancel
from engine.flow.execution.reap import reap
from engine.model.task import Lease
from engine.settings import Settings
from engine.store.database import Database
from engine.store.notifications import TASKS, notify
from engine.worker import Client, Worker
from tests.support.job_code import CODE, Code
from tests.support.workers import sql_job, worker
from tests.support.worlds import World, job, source

DAY = "2013-02-13"


@pytest.fixture
def code(monkeypatch: pytest.MonkeyPatch) -> Code:
    code = Code()
    code.install(monkeypatch)
    return code


async def _world(database: Database, **more: Any) -> World:
    made = job("made", "orders", config=CODE, **more)
    return await World.made(database, source("orders"), made)


async def _queue(world: World, *days: str) -> None:
    await world.changed("orders", *(days or (DAY,)))
    async with world.conn() as conn:
        await notify(conn, TASKS, world.org.id)


@asynccontextmanager
async def _working(*workers: Worker) -> AsyncIterator[asyncio.Event]:
    stop = asyncio.Event()
    async with asyncio.timeout(60), asyncio.TaskGroup() as group:
        for each in workers:
            group.create_task(each.run(stop))
        try:
            yield stop
        finally:
            stop.set()


async def _until(condition: Callable[[], Awaitable[bool]]) -> None:
    """Poll a condition, because the database has no signal for changes of its rows."""
    async with asyncio.timeout(30):
        while not await condition():  # noqa: ASYNC110
            await asyncio.sleep(0.02)


async def _ended(world: World, status: str, count: int = 1) -> None:
    async def are() -> bool:
        return len((await world.tasks()).get(status, ())) == count

    await _until(are)


async def test_several_workers_run_tasks_of_all_operators(database: Database, code: Code) -> None:
    async with database.connection() as conn:
        await conn.execute("CREATE TABLE orders (id int, dt date)")
        await conn.execute(
            "INSERT INTO orders SELECT i, date '2013-02-01' + i % 28 FROM generate_series(1, 280) i"
        )
    code.release.set()
    world = await World.made(
        database,
        source("orders"),
        sql_job("daily", "orders", sql="SELECT count(*) AS n FROM orders"),
        sql_job("total", "daily", sql="SELECT sum(n)::int AS n FROM daily", partitioning={}),
        job("told", "daily", config=CODE),
        job("rung", "daily", operator="shell", config={"command": ["true"]}, partitioning={}),
    )

    async with _working(worker(world, "w1"), worker(world, "w2")):
        await _queue(world, "2013-02-01..2013-02-28")
        await _ended(world, "succeeded", 28 + 1 + 28 + 1)

    assert await world.rows("SELECT n FROM total") == [{"n": 280}]
    assert set(await world.tasks()) == {"succeeded"}
    attempts = await world.rows("SELECT max(attempts) AS most FROM tasks")
    assert attempts == [{"most": 1}]


async def test_a_canceled_task_stops_its_run(database: Database, code: Code) -> None:
    world = await _world(database)
    async with _working(worker(world, lease_seconds=1)):
        await _queue(world)
        await code.started.wait()
        async with world.conn() as conn:
            (task,) = await world.rows("SELECT id FROM tasks")
            await cancel(conn, world.org, task["id"])

        await code.stopped.wait()

    assert await world.tasks() == {"canceled": ["made[2013-02-13]"]}


async def test_a_canceled_command_leaves_its_output(database: Database, tmp_path: Path) -> None:
    began = tmp_path / "began"
    command = f"echo out; echo err >&2; touch {began}; sleep 600"
    made = job("made", "orders", operator="shell", config={"command": command})
    world = await World.made(database, source("orders"), made)
    async with _working(worker(world, lease_seconds=1)):
        await _queue(world)

        async def has_begun() -> bool:
            return began.exists()

        await _until(has_begun)
        (task,) = await world.rows("SELECT id FROM tasks")
        async with world.conn() as conn:
            await cancel(conn, world.org, task["id"])

        async def has_log() -> bool:
            return await world.rows("SELECT outcome, log FROM task_attempts") == [
                {"outcome": "canceled", "log": "out\n--- stderr ---\nerr\n"}
            ]

        await _until(has_log)


async def test_a_long_run_keeps_its_lease(database: Database, code: Code) -> None:
    world = await _world(database)
    async with _working(worker(world, lease_seconds=1)):
        await _queue(world)
        await code.started.wait()
        (first,) = await world.rows("SELECT lease_expires_at AS at FROM tasks")

        async def renewed() -> bool:
            (now,) = await world.rows("SELECT lease_expires_at AS at FROM tasks")
            return (now["at"] - first["at"]).total_seconds() > 1.5

        await _until(renewed)
        code.release.set()
        await _ended(world, "succeeded")

    assert not code.stopped.is_set()


async def test_a_heartbeat_timeout_of_the_job_overrides_that_of_the_worker(
    database: Database, code: Code
) -> None:
    world = await _world(database, heartbeat_timeout=600)
    async with _working(worker(world, lease_seconds=1)):
        await _queue(world)
        await code.started.wait()
        (task,) = await world.rows("SELECT lease_expires_at - started_at AS held FROM tasks")
        code.release.set()

    assert task["held"].total_seconds() > 500


async def test_stopping_waits_for_running_tasks_and_claims_no_more(
    database: Database, code: Code
) -> None:
    world = await _world(database)
    async with _working(worker(world, concurrency=1)) as stop:
        await _queue(world, DAY, "2013-02-14")
        await code.started.wait()
        stop.set()
        code.release.set()

    tasks = await world.tasks()
    assert {status: len(names) for status, names in tasks.items()} == {"succeeded": 1, "queued": 1}


async def test_running_tasks_are_returned_after_the_grace_period(
    database: Database, code: Code
) -> None:
    world = await _world(database)
    async with _working(worker(world, grace_seconds=0.0)) as stop:
        await _queue(world)
        await code.started.wait()
        stop.set()

    assert code.stopped.is_set()
    task = await world.task("made[2013-02-13]", "queued")
    assert task["error_message"] == "worker 'w1' was stopped"
    assert task["next_retry_at"] is not None


KILLED = """
import asyncio, sys
from engine.flow.shared.org_context import OrgContext
from engine.model.task import Lease
from engine.settings import Settings
from engine.store.database import Database
from engine.store.orgs import org_id
from engine.worker import Worker

async def main():
    async with await Database.open(sys.argv[1]) as database:
        async with database.connection() as conn:
            org = OrgContext(await org_id(conn, "default"))
        settings = Settings(lease_seconds=1, poll_seconds=0.05)
        await Worker(database, org, settings, worker_id="killed").run(asyncio.Event())

asyncio.run(main())
"""


async def test_the_task_of_a_killed_worker_is_reaped_and_run_by_another(
    database: Database, database_url: str
) -> None:
    world = await _slow_world(database)
    await _queue(world)

    process = await asyncio.create_subprocess_exec(sys.executable, "-c", KILLED, database_url)
    await _ended(world, "running")
    process.kill()
    await process.wait()

    async def reaped() -> bool:
        async with world.conn() as conn:
            return await reap(conn, world.org) == 1

    await _until(reaped)
    await world.rows("UPDATE pace SET seconds = 0 RETURNING seconds")
    async with _working(worker(world, "alive")):
        await _ended(world, "succeeded")

    task = await world.task("made[2013-02-13]", "succeeded")
    assert (task["worker_id"], task["attempts"]) == ("alive", 2)
    assert await world.rows("SELECT id FROM made") == [{"id": 1}]


async def test_a_run_past_its_timeout_fails(database: Database, code: Code) -> None:
    world = await _world(database, timeout=1, max_attempts=1)
    async with _working(worker(world)):
        await _queue(world)
        await _ended(world, "failed")

    assert code.stopped.is_set()
    task = await world.task("made[2013-02-13]", "failed")
    assert "longer than the job's timeout of 1 seconds" in task["error_message"]


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"operator": "teleport"}, "there is no operator 'teleport'"),
        ({"config": {"callable": "nowhere_at_all:run"}}, "cannot be imported"),
    ],
)
async def test_a_misconfigured_task_fails_without_affecting_others(
    database: Database, code: Code, more: dict[str, Any], message: str
) -> None:
    code.release.set()
    good = job("good", "orders", config=CODE)
    world = await World.made(database, source("orders"), job("bad", "orders", **more), good)
    async with _working(worker(world)):
        await _queue(world)
        await _ended(world, "failed")
        await _ended(world, "succeeded")

    task = await world.task("bad[2013-02-13]", "failed")
    assert message in task["error_message"]
    assert task["attempts"] == 1


async def test_a_worker_survives_an_outage_of_the_database(database: Database, code: Code) -> None:
    code.release.set()
    world = await _world(database)
    async with _working(worker(world)):
        await _queue(world, DAY)
        await _ended(world, "succeeded", 1)
        await _hang_up_on_everybody(database.url)
        await _queue(world, "2013-02-14")
        await _ended(world, "succeeded", 2)


async def _hang_up_on_everybody(url: str) -> None:
    async with await psycopg.AsyncConnection.connect(url, autocommit=True) as conn:
        await conn.execute(
            "SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )


async def test_a_sql_run_restarts_after_losing_its_connection(database: Database) -> None:
    world = await _slow_world(database, max_attempts=1)
    async with _working(worker(world)):
        await _queue(world)
        await _until(lambda: _sleeps(world))
        await world.rows("UPDATE pace SET seconds = 0 RETURNING seconds")
        await _hang_up_on_everybody(database.url)
        await _ended(world, "succeeded")

    assert (await world.task("made[2013-02-13]", "succeeded"))["attempts"] == 1


async def test_a_lost_sql_run_is_canceled_in_the_database(
    database: Database,
) -> None:
    world = await _slow_world(database)
    async with _working(worker(world, lease_seconds=1)):
        await _queue(world)
        await _until(lambda: _sleeps(world))
        async with world.conn() as conn:
            await cancel(conn, world.org, (await world.rows("SELECT id FROM tasks"))[0]["id"])

        async def awake() -> bool:
            return not await _sleeps(world)

        await _until(awake)

    assert await world.rows("SELECT to_regclass('made') AS made") == [{"made": None}]


async def _slow_world(database: Database, **more: Any) -> World:
    """A sql job with a duration set in the table `pace`."""
    async with database.connection() as conn:
        await conn.execute("CREATE TABLE orders (id int, dt date)")
        await conn.execute("INSERT INTO orders VALUES (1, %s)", [DAY])
        await conn.execute("CREATE TABLE pace (seconds int)")
        await conn.execute("INSERT INTO pace VALUES (600)")
    sql = "SELECT id, pg_sleep(seconds)::text AS slept FROM orders, pace"
    slow = sql_job("made", "orders", "pace", sql=sql, **more)
    return await World.made(database, source("orders"), source("pace", {}), slow)


async def _sleeps(world: World) -> bool:
    return bool(await world.rows("SELECT FROM pg_stat_activity WHERE wait_event = 'PgSleep'"))


async def test_a_client_can_run_tasks_in_any_process(database: Database, database_url: str) -> None:
    world = await World.made(database, source("orders"), job("made", "orders", runtime="external"))
    await _queue(world, DAY, "2013-02-14")

    async with Client.connect(database_url, "mine", lease_seconds=1) as client:
        first, second = await client.claim(5)
        async with client.running(first):
            assert set(await client.heartbeat([first, second])) == {first.task_id, second.task_id}
        await client.complete(first)
        await client.fail(second, "no luck", retryable=False)
        with pytest.raises(LeaseLost):
            await client.complete(second)
        assert await client.claim(5) == []

    (failed,) = await world.rows("SELECT error_message FROM tasks WHERE status = 'failed'")
    assert failed == {"error_message": "no luck"}


async def test_a_client_claims_by_job_or_operator(database: Database, database_url: str) -> None:
    train = job("train", "orders", runtime="external", operator="gpu")
    score = job("score", "orders", runtime="external", operator="gpu")
    copy = job("copy", "orders", runtime="external")
    world = await World.made(database, source("orders"), train, score, copy)
    await _queue(world, DAY)

    async with Client.connect(database_url, "mine") as client:
        (lease,) = await client.claim(5, jobs=["train"])
        assert lease.job.name == "train"
        assert await client.claim(5, jobs=["w.train"]) == []
        assert await client.claim(5, jobs=["copy"], operators=["gpu"]) == []
        (lease,) = await client.claim(5, operators=["gpu"])
        assert lease.job.name == "score"
        with pytest.raises(UnknownName, match="there is no job 'trian'; did you mean 'train'"):
            await client.claim(jobs=["trian"])
        (lease,) = await client.claim(5)
        assert lease.job.name == "copy"


async def test_the_body_of_a_lost_lease_is_stopped(database: Database, database_url: str) -> None:
    world = await World.made(database, source("orders"), job("made", "orders", runtime="external"))
    await _queue(world)

    async with Client.connect(database_url, "mine", lease_seconds=1) as client:
        (lease,) = await client.claim()
        async with world.conn() as conn:
            await cancel(conn, world.org, lease.task_id)
        with pytest.raises(LeaseLost, match=str(lease.task_id)):
            await _hold(client, lease)


async def test_a_lease_that_cannot_be_renewed_counts_as_lost(
    database: Database, database_url: str
) -> None:
    """With the database unreachable, only the lease's own clock shows the expiry."""
    world = await World.made(database, source("orders"), job("made", "orders", runtime="external"))
    await _queue(world)

    async with Client.connect(database_url, "mine", lease_seconds=1) as client:
        (lease,) = await client.claim()
        async with world.conn() as conn:
            await conn.execute("ALTER TABLE tasks RENAME TO away")
        with pytest.raises(LeaseLost):
            await _hold(client, lease)


async def _hold(client: Client, lease: Lease) -> None:
    async with asyncio.timeout(30), client.running(lease):
        await asyncio.Event().wait()


async def test_a_body_may_raise_its_own_timeouts_and_cancellations(
    database: Database, database_url: str
) -> None:
    world = await World.made(database, source("orders"), job("made", "orders", runtime="external"))
    await _queue(world)

    async with Client.connect(database_url, "mine") as client:
        (lease,) = await client.claim()
        with pytest.raises(TimeoutError):
            async with client.running(lease):
                raise TimeoutError


def test_more_tasks_than_connections_are_refused(database_url: str) -> None:
    settings = Settings(concurrency=9, database_pool=10)
    with pytest.raises(InvalidInput, match="KNOCKON_DATABASE_POOL to 11"):
        Worker(None, None, settings)  # type: ignore[arg-type]


async def test_the_log_of_a_run_is_recorded_with_its_outcome(database: Database) -> None:
    ok, bad = "echo fine", "echo started; echo odd >&2; exit 3"
    world = await World.made(
        database,
        source("orders"),
        job("made", "orders", operator="shell", config={"command": ok}),
        job("lost", "orders", operator="shell", config={"command": bad}, max_attempts=1),
    )
    async with _working(worker(world)):
        await _queue(world)
        await _ended(world, "succeeded")
        await _ended(world, "failed")
    rows = await world.rows(
        "SELECT outcome, error_message, log FROM task_attempts ORDER BY outcome"
    )
    assert [tuple(row.values()) for row in rows] == [
        ("failed", "the command ended with code 3: odd", "started\n--- stderr ---\nodd\n"),
        ("succeeded", None, "fine\n"),
    ]


async def test_an_error_of_the_database_is_recorded_in_full(database: Database) -> None:
    async with database.connection() as conn:
        await conn.execute("CREATE TABLE orders (id int, dt date)")
        await conn.execute("INSERT INTO orders VALUES (1, '2013-02-13')")
        await conn.execute(
            "CREATE FUNCTION no_luck(int) RETURNS int LANGUAGE plpgsql AS $$ BEGIN "
            "RAISE EXCEPTION 'no luck' USING DETAIL = 'of all days', HINT = 'try again', "
            "ERRCODE = 'P0042'; END $$"
        )
    select = "SELECT id, no_luck(id) AS n FROM orders"
    world = await World.made(
        database, source("orders"), sql_job("made", "orders", sql=select, max_attempts=1)
    )
    async with _working(worker(world)):
        await _queue(world)
        await _ended(world, "failed")
    (row,) = await world.rows("SELECT error_message AS error FROM task_attempts")
    first, *lines = row["error"].splitlines()
    assert first == "the database refused the job's SELECT: no luck"
    assert {"DETAIL:  of all days", "HINT:  try again", "SQLSTATE: P0042"} <= set(lines)
    assert any(line.startswith("CONTEXT:  PL/pgSQL function no_luck") for line in lines)
