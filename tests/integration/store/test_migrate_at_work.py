"""A database with work in every state is migrated while an engine and a worker run."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from uuid import UUID

import pytest

from engine.flow.deployment.propose import propose
from engine.flow.execution.cancel import cancel
from engine.flow.execution.fail import fail
from engine.flow.execution.retry import retry_failed
from engine.flow.ingestion.ingest import ingest
from engine.flow.planning.approve import approve, reject
from engine.flow.planning.audit import audit_all
from engine.loops.engine import Engine
from engine.loops.schema_watch import SchemaWatch
from engine.model.event import Batch, Rejection, SourceEvent
from engine.model.task import Lease
from engine.monitor.metrics import LOOP_ERRORS
from engine.settings import Settings
from engine.store.database import Database
from engine.store.migrate import migrate
from engine.store.orgs import set_setting
from engine.worker import Context
from tests.support.job_code import CODE, Code
from tests.support.migrations import LATEST, later_migrations, until
from tests.support.workers import worker
from tests.support.worlds import World, job, source

HELD_AT_WORK = "2013-01-20"
WEEK = "2013-02-11..2013-02-17"
MIGRATIONS = (
    f"""-- knockon: oldest code {LATEST:04}
ALTER TABLE knockon.tasks ADD COLUMN tries bigint;
ALTER TABLE knockon.plans ADD COLUMN note text NOT NULL DEFAULT '';
ALTER TABLE knockon.data_invalidations ADD COLUMN note text NOT NULL DEFAULT '';
ALTER TABLE knockon.partition_versions ADD COLUMN note text NOT NULL DEFAULT '';
UPDATE knockon.tasks SET tries = attempts;""",
    """-- knockon: outside transaction
CREATE INDEX CONCURRENTLY IF NOT EXISTS tasks_tries ON knockon.tasks (tries);""",
    """-- knockon: outside transaction
DO $$
DECLARE
    task uuid;
BEGIN
    FOR task IN SELECT id FROM knockon.tasks LOOP
        UPDATE knockon.tasks SET tries = coalesce(tries, 0) + 1 WHERE id = task;
        COMMIT;
    END LOOP;
END $$;""",
)


class CodeOfOne(Code):
    """A job's code; one partition blocks until the test releases it."""

    async def run(self, context: Context) -> None:
        if HELD_AT_WORK in context.lease.partitions:
            await super().run(context)


@pytest.fixture
def code(monkeypatch: pytest.MonkeyPatch) -> Code:
    code = CodeOfOne()
    code.install(monkeypatch)
    return code


async def full_of_work(database: Database) -> World:
    """Two jobs in a row, with tasks, plans and invalidations in every state."""
    world = await World.made(
        database, source("a"), job("b", "a", config=CODE), job("c", "b", config=CODE)
    )
    for _ in range(2):  # the second result of `b` is unchanged, and `c` is skipped
        await world.changed("a", "2013-01-01", "2013-01-02")
        await world.run(same=("b", "c"))
    await _cancel(world, "2013-01-03")
    await _fail(world, "2013-01-04", retryable=False)
    await _fail(world, "2013-01-05", retryable=True)
    await _claim(world, "2013-01-06", seconds=1)  # by a worker that has disappeared
    async with world.conn() as conn:
        await set_setting(conn, world.org.id, "blast_radius", 5)
        await reject(conn, world.org, await _pending(world, "2013-03-01..2013-03-07"))
        await _pending(world, WEEK)
        await propose(conn, world.org, SourceEvent(dataset="a", partitions=("2013-01-07",)))
        letter = Rejection(stream="kafka/t/0", position="1", payload=b"{", error="no JSON")
        await ingest(conn, world.org, Batch(consumer="k", rejections=(letter,)))
    await _set_aside(world)
    await world.changed("a", HELD_AT_WORK)
    await world.change("a", "2013-01-08")
    return world


async def _claim(world: World, day: str, seconds: int = 30) -> Lease:
    await world.changed("a", day)
    (lease,) = await world.claim(seconds=seconds)
    return lease


async def _cancel(world: World, day: str) -> None:
    await world.changed("a", day)
    task = await world.task(f"b[{day}]", "queued")
    async with world.conn() as conn:
        await cancel(conn, world.org, task["id"])


async def _fail(world: World, day: str, *, retryable: bool) -> None:
    lease = await _claim(world, day)
    async with world.conn() as conn:
        await fail(conn, world.org, lease, "as the test wants it", retryable=retryable)


async def _pending(world: World, days: str) -> UUID:
    await world.change("a", days)
    planned = await world.plan()
    assert planned is not None
    assert planned.exceeded_limits
    assert planned.plan_id is not None
    return planned.plan_id


async def _set_aside(world: World) -> None:
    request = await world.change("a", "2013-01-09")
    (ruined,) = request.invalidations
    await world.rows(
        "UPDATE data_invalidations SET partition_key = 'no day' WHERE id = %s RETURNING id", ruined
    )
    await world.plan()


async def assert_every_state(world: World) -> None:
    """Compare the states of the rows with the states allowed by the schema."""
    for table, column in (("tasks", "status"), ("plans", "state")):
        rows = await world.rows(
            "SELECT pg_get_constraintdef(oid) AS text FROM pg_constraint WHERE conname = %s",
            f"{table}_{column}_check",
        )
        allowed = {part for part in rows[0]["text"].split("'") if part.isidentifier()}
        found = await world.rows(f"SELECT DISTINCT {column} AS state FROM {table}")
        assert {row["state"] for row in found} == allowed, table
    (row,) = await world.rows(
        "SELECT count(*) FILTER (WHERE processed_at IS NULL AND set_aside_at IS NULL) AS open, "
        "count(processed_at) AS processed, count(set_aside_at) AS set_aside "
        "FROM data_invalidations"
    )
    assert all(row.values()), row


@asynccontextmanager
async def at_work(world: World) -> AsyncIterator[None]:
    """An engine and a worker, in the loops of `knockon up`."""
    settings = Settings(poll_seconds=0.05, reap_seconds=0.2)
    stop = asyncio.Event()
    async with (
        SchemaWatch(world.database, stop.set) as watch,
        asyncio.timeout(120),
        asyncio.TaskGroup() as group,
    ):
        group.create_task(Engine(world.database, world.org, settings).run(stop))
        group.create_task(worker(world).run(stop))
        try:
            yield
        finally:
            stop.set()
    watch.check()


def loop_errors() -> float:
    return sum(sample.value for metric in LOOP_ERRORS.collect() for sample in metric.samples)


async def test_work_in_every_state_continues_through_a_migration(
    database: Database, database_url: str, code: Code, tmp_path: Path
) -> None:
    world = await full_of_work(database)
    await assert_every_state(world)
    errors = loop_errors()
    async with at_work(world):
        await code.started.wait()
        applied = await migrate(database_url, later_migrations(tmp_path, *MIGRATIONS))
        assert len(applied) == len(MIGRATIONS)
        code.release.set()
        await _decide_the_rest(world)
        await until(lambda: _is_at_rest(world))
    assert loop_errors() == errors
    async with world.conn() as conn:
        assert (await audit_all(conn, world.org, mend=False)).lost == 0
    failures = await world.rows(
        "SELECT DISTINCT error_message AS text FROM tasks WHERE error_message IS NOT NULL"
    )
    assert failures == []
    assert set(await world.tasks()) == {"succeeded", "skipped", "canceled"}
    done = (await world.tasks())["succeeded"]
    for day in ("04", "05", "06", "08", "20"):
        assert {f"b[2013-01-{day}]", f"c[2013-01-{day}]"} <= {*done}
    (row,) = await world.rows(
        "SELECT bool_and(tries > 0) AS all FROM tasks WHERE tries IS NOT NULL"
    )
    assert row["all"]


async def _decide_the_rest(world: World) -> None:
    (plan,) = await world.rows("SELECT id FROM plans WHERE state = 'pending_approval'")
    async with world.conn() as conn:
        await approve(conn, world.org, plan["id"])
        await retry_failed(conn, world.org)


async def _is_at_rest(world: World) -> bool:
    (row,) = await world.rows(
        "SELECT (SELECT count(*) FROM tasks "
        "WHERE status IN ('blocked', 'queued', 'running', 'failed')) "
        "+ (SELECT count(*) FROM data_invalidations "
        "WHERE processed_at IS NULL AND set_aside_at IS NULL) AS n"
    )
    return bool(row["n"] == 0)
