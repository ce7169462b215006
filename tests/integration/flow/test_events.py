"""The feed of events: complete, in order, and resumed without a gap."""

import asyncio
from collections.abc import Sequence
from random import Random
from typing import Any
from uuid import UUID

import pytest
from psycopg import sql

from engine.errors import InvalidInput
from engine.flow.execution.cancel import cancel
from engine.flow.execution.fail import fail
from engine.flow.execution.retry import retry
from engine.flow.ingestion.ingest import ingest
from engine.flow.planning.approve import reject
from engine.flow.retention.expire import expire
from engine.flow.retention.publish import publish
from engine.flow.shared.org_context import OrgContext
from engine.model.event import Batch, Rejection
from engine.model.states import EventKind
from engine.service.queries.events import FeedEvent, events
from engine.service.queries.history import history
from engine.store.database import Connection, Database
from engine.store.orgs import ensure_org, set_setting
from tests.support.worlds import World, job, source

DAY, OTHER = "2013-02-13", "2013-02-14"
_ADD = (
    b"INSERT INTO knockon.pending_events (org_id, kind, subject_id, detail) "
    b"SELECT %s, 'dag.deployed', gen_random_uuid(), jsonb_build_object('number', n) "
    b"FROM unnest(%s::int[]) AS n"
)


@pytest.fixture
async def world(database: Database) -> World:
    world = await World.made(database, source("a"), job("b", "a"), job("c", "b"))
    await _published(world)
    return world


async def _publish(world: World) -> None:
    async with world.conn() as conn:
        while await publish(conn):
            pass


async def _published(world: World, after: int = 0) -> list[FeedEvent]:
    await _publish(world)
    return await _read(world, after)


async def _read(world: World, after: int, limit: int = 1000) -> list[FeedEvent]:
    return await events(world.caller, world.service, after=after, limit=limit)


async def _last(world: World) -> int:
    return (await _published(world))[-1].position


def _told(feed: Sequence[FeedEvent]) -> list[str]:
    return [
        event.kind if event.job_name is None else f"{event.kind} {event.job_name}" for event in feed
    ]


async def _add(conn: Connection, org: UUID, *numbers: int) -> None:
    await conn.execute(_ADD, [org, list(numbers)])


def _numbers(feed: Sequence[FeedEvent]) -> list[int]:
    return [event.detail["number"] for event in feed if "number" in event.detail]


async def test_a_deploy_is_an_event(database: Database) -> None:
    world = await World.made(database, source("a"))
    (event,) = await _published(world)
    assert (event.kind, event.detail) == ("dag.deployed", {"dag": "w"})
    (row,) = await world.rows("SELECT dag_version_id FROM dag_current_versions")
    assert event.subject_id == row["dag_version_id"]
    await world.deploy(source("a"))
    assert len(await _published(world)) == 1


async def test_a_wave_is_told_from_the_invalidation_to_the_last_task(world: World) -> None:
    start = await _last(world)
    await world.changed("a", DAY, OTHER)
    await world.run(same=["b"])
    feed = await _published(world, start)
    assert _told(feed)[:2] == ["invalidation.recorded", "plan.applied"]
    assert feed[0].detail == {"dataset": "a", "reason": "change", "count": 1}
    assert feed[1].detail == {"tasks": 4}
    assert sorted(_told(feed[2:])) == sorted(
        2 * ["task.started b", "task.succeeded b", "task.started c", "task.succeeded c"]
    )
    (succeeded,) = (
        event
        for event in feed
        if (event.kind, event.job_name) == ("task.succeeded", "b")
        and event.detail["block_key"] == DAY
    )
    task = await world.task(f"b[{DAY}]", "succeeded")
    assert (succeeded.subject_id, succeeded.dag_name) == (task["id"], "w")
    assert succeeded.detail == {
        "block_key": DAY,
        "attempt": 1,
        "worker_id": "w1",
        "outcome": "changed",
    }


async def test_the_event_of_a_cause_has_the_lower_position(world: World) -> None:
    start = await _last(world)
    await world.changed("a", DAY)
    for name in "b", "c":
        (lease,) = await world.claim()
        await world.finish(lease)
        await _publish(world)
        assert lease.job.name == name
    assert _told(await _read(world, start)) == [
        *("invalidation.recorded", "plan.applied"),
        *("task.started b", "task.succeeded b", "task.started c", "task.succeeded c"),
    ]


async def test_skipped_tasks_are_events_unless_found_stale(world: World) -> None:
    await world.changed("a", DAY)
    await world.run(same=["b"])
    start = await _last(world)
    await world.changed("a", DAY)
    assert await world.run(same=["b"]) == [f"b[{DAY}]"]
    await world.changed("a", DAY)
    await world.rows("UPDATE task_inputs SET input_version = '2000-01-01' RETURNING task_id")
    assert await world.run(same=["b"]) == [f"b[{DAY}]", f"c[{DAY}]"]
    told = _told(await _published(world, start))
    assert told.count("task.skipped c") == 1
    assert len(await world.rows("SELECT FROM tasks WHERE status = 'skipped'")) == 1


async def test_failures_retries_and_cancellations_are_events(database: Database) -> None:
    world = await World.made(database, source("a"), job("b", "a", max_attempts=2))
    start = await _last(world)
    await world.changed("a", DAY)
    async with world.conn() as conn:
        for _ in range(2):
            await world.rows("UPDATE tasks SET next_retry_at = NULL RETURNING id")
            (lease,) = await world.claim()
            await fail(conn, world.org, lease, "no luck")
        await retry(conn, world.org, lease.task_id)
        await cancel(conn, world.org, lease.task_id)
    feed = await _published(world, start)
    assert [event.kind for event in feed[2:]] == [
        *("task.started", "task.attempt_failed", "task.started", "task.failed"),
        *("task.retried", "task.canceled"),
    ]
    assert feed[3].detail["error"] == "no luck"
    assert [event.detail["attempt"] for event in feed[2:6]] == [1, 1, 2, 2]


async def test_a_plan_pending_approval_is_an_event_and_its_rejection(database: Database) -> None:
    world = await World.made(database, source("a"), job("b", "a"))
    async with world.conn() as conn:
        await set_setting(conn, world.org.id, "blast_radius", 1)
    start = await _last(world)
    await world.changed("a", DAY, OTHER)
    (row,) = await world.rows("SELECT id FROM plans WHERE state = 'pending_approval'")
    async with world.conn() as conn:
        await reject(conn, world.org, row["id"], by="ann")
    feed = await _published(world, start)
    assert [(event.kind, event.subject_id) for event in feed[1:]] == [
        ("plan.pending_approval", row["id"]),
        ("plan.rejected", row["id"]),
    ]
    assert feed[-1].detail["decided_by"] == "ann"


async def test_a_dead_letter_is_an_event(world: World) -> None:
    start = await _last(world)
    letter = Rejection(stream="s", position="7", payload=b"x", error="bad")
    async with world.conn() as conn:
        await ingest(conn, world.org, Batch(consumer="k", rejections=(letter,)))
    (event,) = await _published(world, start)
    assert event.kind == "dead_letter.recorded"
    assert event.detail == {"consumer": "k", "stream": "s", "position": "7", "error": "bad"}


async def test_an_event_of_a_transaction_rolled_back_does_not_exist(world: World) -> None:
    start = await _last(world)
    async with world.conn() as conn, conn.transaction(force_rollback=True):
        await _add(conn, world.org.id, 1)
    assert await _published(world, start) == []


async def test_an_event_committed_late_is_read_after_those_before(world: World) -> None:
    start = await _last(world)
    async with world.conn() as slow, world.conn() as fast, slow.transaction():
        await _add(slow, world.org.id, 1)
        await _add(fast, world.org.id, 2)
        first = await _published(world, start)
        assert _numbers(first) == [2]
    assert _numbers(await _published(world, first[-1].position)) == [1]


async def test_positions_are_assigned_by_one_transaction_at_a_time(world: World) -> None:
    start = await _last(world)
    async with world.conn() as slow, world.conn() as other:
        await _add(other, world.org.id, 1)
        async with slow.transaction():
            await publish(slow)
            await _add(other, world.org.id, 2)
            assert await publish(other) is False
            assert await _read(world, start) == []
    assert _numbers(await _read(world, start)) == [1]
    assert _numbers(await _published(world, start)) == [1, 2]


class _Traffic:
    """Writers that commit and roll back in any order, publishers, and a reader that resumes."""

    def __init__(self, world: World, seed: int, start: int) -> None:
        self.world = world
        self.seed = seed
        self.start = start
        self.committed: list[int] = []
        self.read: list[FeedEvent] = []
        self.is_over = asyncio.Event()

    async def run(self) -> None:
        async with asyncio.TaskGroup() as group:
            for loop in (self._publish, self._publish, self._read):
                group.create_task(loop())
            await asyncio.gather(*map(self._write, range(5)))
            self.is_over.set()

    async def _write(self, writer: int) -> None:
        rng = Random(f"{self.seed} {writer}")
        async with self.world.conn() as conn:
            for batch in range(25):
                first = writer * 10_000 + batch * 100
                numbers = range(first, first + rng.randint(1, 5))
                fails = rng.random() < 0.2
                async with conn.transaction(force_rollback=fails):
                    for number in numbers:
                        await _add(conn, self.world.org.id, number)
                        await asyncio.sleep(rng.random() * 0.01)
                self.committed += () if fails else numbers

    async def _publish(self) -> None:
        async with self.world.conn() as conn:
            while not self.is_over.is_set():
                await publish(conn)
                await asyncio.sleep(0)

    async def _read(self) -> None:
        while not self.is_over.is_set():
            await self.read_on()
            await asyncio.sleep(0)

    async def read_on(self) -> None:
        """Read all pages after the last event read."""
        while page := await _read(self.world, self._position, limit=7):
            self.read += page

    @property
    def _position(self) -> int:
        return self.read[-1].position if self.read else self.start


@pytest.mark.parametrize("seed", range(3))
async def test_a_resuming_reader_misses_and_repeats_nothing(world: World, seed: int) -> None:
    traffic = _Traffic(world, seed, await _last(world))
    await traffic.run()
    await _publish(world)
    await traffic.read_on()
    assert len(traffic.committed) > 100
    assert sorted(_numbers(traffic.read)) == sorted(traffic.committed)
    positions = [event.position for event in traffic.read]
    assert positions == sorted(set(positions))


async def test_the_newest_events_are_listed_in_order_and_by_kind(world: World) -> None:
    await world.changed("a", DAY)
    await world.run()
    feed = await _published(world)
    newest = await events(world.caller, world.service, limit=3)
    assert newest == feed[-3:]
    plans = await events(world.caller, world.service, kinds=[EventKind.PLAN_APPLIED])
    assert plans == [event for event in feed if event.kind == "plan.applied"]


async def test_events_of_other_orgs_are_not_read(world: World) -> None:
    start = await _last(world)
    async with world.conn() as conn:
        await _add(conn, UUID(int=7), 1)
    assert await _published(world, start) == []


async def test_a_reader_behind_the_retention_period_gets_an_error(world: World) -> None:
    await world.changed("a", DAY)
    feed = await _published(world)
    async with world.conn() as conn:
        assert "events" not in " ".join(await expire(conn, 365, 365, 7, 0))
        assert "events" in " ".join(await expire(conn, 365, 365, 7, -70))
    last = feed[-1].position
    with pytest.raises(InvalidInput, match=f"continue after {last}"):
        await _read(world, feed[0].position)
    assert await _read(world, 0) == []
    assert await _read(world, last) == []
    await world.changed("a", OTHER)
    assert _told(await _published(world, last)) == ["invalidation.recorded", "plan.applied"]


async def test_the_role_of_the_engine_publishes(world: World) -> None:
    start = await _last(world)
    async with world.conn() as conn:
        await conn.execute(f"DROP TABLE {await _only_month(world)}".encode())
        (row,) = await world.rows(
            "SELECT pg_get_userbyid(nspowner) AS owner FROM pg_namespace WHERE nspname = 'knockon'"
        )
        role = sql.Identifier(row["owner"].replace("knockon_owner_", "knockon_engine_"))
        await conn.execute(sql.SQL("SET ROLE {}").format(role))
        try:
            await _add(conn, world.org.id, 1)
            await publish(conn)
        finally:
            await conn.execute(b"RESET ROLE")
    assert _numbers(await _read(world, start)) == [1]


async def _only_month(world: World) -> Any:
    (row,) = await world.rows(
        "SELECT inhrelid::regclass::text AS name FROM pg_inherits "
        "WHERE inhparent = 'events'::regclass"
    )
    return row["name"]


async def _other(world: World) -> World:
    async with world.conn() as conn:
        return World(world.database, OrgContext(await ensure_org(conn, "other")))


async def test_positions_count_the_events_of_the_org_only(world: World) -> None:
    other = await _other(world)
    start = await _last(world)
    for number in range(3):
        async with world.conn() as conn:
            await _add(conn, other.org.id, 7, 8)
            await _add(conn, world.org.id, number)
        await _publish(world)
    assert [event.position for event in await _read(world, start)] == [
        start + 1,
        start + 2,
        start + 3,
    ]
    theirs = await _read(other, 0)
    assert [event.position for event in theirs] == [1, 2, 3, 4, 5, 6]
    assert _numbers(theirs) == [7, 8] * 3


async def test_orgs_take_turns_in_the_publication(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("engine.flow.retention.publish._BATCH", 10)
    other, start = await _other(world), await _last(world)
    async with world.conn() as conn:
        await _add(conn, other.org.id, *range(100))
        await _add(conn, world.org.id, 1, 2)
        assert await publish(conn)
    assert _numbers(await _read(world, start)) == [1, 2]
    assert _numbers(await _read(other, 0)) == [*range(8)]
    await _publish(world)
    assert _numbers(await _read(other, 0)) == [*range(100)]


async def test_deploys_are_numbered_within_the_org(world: World) -> None:
    other = await _other(world)
    await other.deploy(source("x"), dag="theirs")
    await world.deploy(source("z"), dag="second")
    await other.deploy(source("y"), dag="more")
    assert [row.id for row in await history(world.caller, world.service)] == [2, 1]
    assert [row.id for row in await history(other.caller, other.service)] == [2, 1]
    assert [row.id for row in await history(other.caller, other.service, before=2)] == [1]
