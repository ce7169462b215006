"""Work beyond a quota waits, or does not run; none is lost, and no other org is affected."""

import asyncio
from typing import Any

import pytest

from engine.errors import QuotaExceeded
from engine.flow.deployment.apply import apply
from engine.flow.deployment.deploy import approve, deploy
from engine.flow.deployment.propose import propose
from engine.flow.execution.claim import Claimant, claim
from engine.flow.retention.archive import archive
from engine.flow.retention.expire import expire
from engine.flow.retention.trim_logs import DROPPED, trim_logs
from engine.flow.shared.org_context import OrgContext
from engine.model.dagfile import parse_dag
from engine.model.event import SourceEvent
from engine.service.queries.attempts import task_log
from engine.service.queries.health import work
from engine.service.queries.usage import usage
from engine.store.database import Database
from engine.store.orgs import ensure_org, set_setting, stored_log_bytes
from tests.support.worlds import World, job, source

DAYS = [f"2013-02-{day:02}" for day in range(1, 29)]
JOBS = (source("a"), job("b", "a"))


async def limit(world: World, **quotas: int | None) -> None:
    async with world.conn() as conn:
        for name, value in quotas.items():
            await set_setting(conn, world.org.id, name, value)


@pytest.fixture
async def world(database: Database) -> World:
    return await World.made(database, *JOBS)


@pytest.fixture
async def other(database: Database, world: World) -> World:
    """Another org, with datasets of the same names."""
    async with database.connection() as conn:
        other = World(database, OrgContext(await ensure_org(conn, "other")))
    await other.deploy(*JOBS)
    return other


async def test_tasks_beyond_the_running_ones_stay_queued(world: World, other: World) -> None:
    await limit(world, running_tasks=3)
    for each in (world, other):
        await each.changed("a", *DAYS[:5])
    first, theirs = await world.claim(), await other.claim()
    assert (len(first), len(theirs)) == (3, 5)
    assert await world.claim() == []
    await world.finish(first.pop())
    assert len(await world.claim()) == 1


async def test_all_tasks_run_within_the_quota(world: World) -> None:
    await limit(world, running_tasks=2)
    await world.changed("a", *DAYS[:5])
    assert sorted(await world.run()) == [f"b[{day}]" for day in DAYS[:5]]


async def test_concurrent_claims_do_not_exceed_the_quota(world: World) -> None:
    await limit(world, running_tasks=4)
    await world.changed("a", *DAYS)

    async def claimed(worker: str) -> int:
        async with world.conn() as conn:
            return len(await claim(conn, OrgContext(world.org.id), Claimant(worker), 3))

    for _ in range(5):
        counts = await asyncio.gather(*(claimed(f"w{n}") for n in range(6)))
        assert sum(counts) <= 4
    (row,) = await world.rows("SELECT count(*) AS n FROM tasks WHERE status = 'running'")
    assert row["n"] == 4


async def test_planning_waits_for_room(world: World, other: World) -> None:
    await limit(world, unfinished_tasks=3)
    await world.changed("a", *DAYS[:4])
    await world.change("a", DAYS[9])
    assert await world.plan() is None
    await world.rows("UPDATE data_invalidations SET created_at = now() - interval '1h' RETURNING 1")
    checks = {check.name: check for check in await work(world.caller, world.service)}
    assert "quota of unfinished tasks" in checks["planning"].remedy
    await other.changed("a", DAYS[0])
    assert await other.tasks("b") != {}
    lease, *_ = await world.claim(2)
    await world.finish(lease)
    assert await world.plan() is None, "3 are left"
    await world.run()
    assert await world.plan() is not None
    assert await world.run() == [f"b[{DAYS[9]}]"]


async def test_failed_tasks_alone_do_not_stop_planning(world: World) -> None:
    """What they wait for may be what a plan brings: a deploy, or a change of their inputs."""
    await limit(world, unfinished_tasks=1)
    await world.changed("a", DAYS[0])
    await world.rows("UPDATE tasks SET status = 'failed', completed_at = now() RETURNING 1")
    await world.changed("a", DAYS[0])
    assert await world.run() == [f"b[{DAYS[0]}]"]


async def test_first_runs_that_wait_for_inputs_do_not_stop_planning(database: Database) -> None:
    world = await World.made(
        database, source("a"), source("z"), job("b", "a", {"dataset": "z", "wait_for": "all"})
    )
    await limit(world, unfinished_tasks=1)
    await world.changed("a", DAYS[0])
    assert await world.tasks() == {"blocked": [f"b[{DAYS[0]}]"]}
    await world.changed("z", DAYS[0])
    assert await world.run() == [f"b[{DAYS[0]}]"]


async def test_a_plan_beyond_the_quota_cannot_be_approved(world: World, other: World) -> None:
    await limit(world, partitions_per_plan=3)
    for each in (world, other):
        await each.change("a", *DAYS[:4])
    planned, theirs = await world.plan(), await other.plan()
    assert planned is not None
    assert theirs is not None
    assert theirs.tasks == 4
    assert [str(each) for each in planned.exceeded_limits] == [
        "4 partitions in all; the quota of the org allows 3 in one plan"
    ]
    assert planned.plan_id is not None
    async with world.conn() as conn:
        with pytest.raises(QuotaExceeded, match="knockon org set partitions_per_plan"):
            await approve(conn, world.org, planned.plan_id)
    await world.changed("a", DAYS[9])
    assert await world.run() == [f"b[{DAYS[9]}]"], "smaller changes are planned meanwhile"
    await limit(world, partitions_per_plan=4)
    async with world.conn() as conn:
        assert (await approve(conn, world.org, planned.plan_id)).tasks == 4
    assert sorted(await world.run()) == [f"b[{day}]" for day in DAYS[:4]]


async def test_a_proposal_beyond_the_quota_is_not_applied(world: World) -> None:
    await limit(world, partitions_per_plan=3)
    async with world.conn() as conn:
        proposal = await propose(conn, world.org, SourceEvent(dataset="a", partitions=(*DAYS[:4],)))
        with pytest.raises(QuotaExceeded):
            await apply(conn, world.org, proposal.plan_id)
    assert await world.rows("SELECT FROM data_invalidations WHERE reason = 'change'") == []
    await limit(world, partitions_per_plan=None)
    async with world.conn() as conn:
        assert (await apply(conn, world.org, proposal.plan_id)).tasks == 4


def dag(*jobs: dict[str, Any]) -> Any:
    return parse_dag(str({"dag": "w", "jobs": [*jobs]}), where="w.yaml")


async def test_a_deploy_beyond_the_quota_is_pending_and_not_approved(world: World) -> None:
    await world.changed("a", *DAYS[:4])
    await world.run()
    await limit(world, partitions_per_plan=3)
    changed = dag(source("a"), job("b", "a", version="2"))
    async with world.conn() as conn:
        deployed = await deploy(conn, world.org, [changed], is_limited=True)
        assert deployed.pending_plan is not None
        with pytest.raises(QuotaExceeded):
            await approve(conn, world.org, deployed.pending_plan)
        await set_setting(conn, world.org.id, "partitions_per_plan", 4)
        await approve(conn, world.org, deployed.pending_plan)
    assert len(await world.run()) == 4


async def test_a_deploy_beyond_the_jobs_is_refused(world: World, other: World) -> None:
    await limit(world, jobs=2)
    three = (*JOBS, job("c", "b"))
    with pytest.raises(QuotaExceeded, match="would have 3 jobs, and its quota permits 2"):
        await world.deploy(*three)
    with pytest.raises(QuotaExceeded):
        await world.deploy(source("c"), dag="second")
    assert (await usage(world.caller, world.service)).jobs == 2
    await other.deploy(*three)
    await limit(world, jobs=1)
    await world.deploy(source("a"), job("b", "a", version="2"))  # adds none
    await world.deploy(source("a"))


async def ran(world: World, days: list[str], log: str) -> None:
    await world.changed("a", *days)
    for lease in await world.claim():
        await world.finish(lease, log=log)
    async with world.conn() as conn:
        await archive(conn, world.org, 0)


async def log_sizes(world: World) -> list[int]:
    rows = await world.rows(
        "SELECT octet_length(log) AS size FROM all_attempts WHERE org_id = %s AND log <> %s",
        world.org.id,
        DROPPED,
    )
    return [row["size"] for row in rows]


async def trimmed(world: World) -> None:
    async with world.conn() as conn:
        while await trim_logs(conn, world.org):
            pass


async def test_the_oldest_logs_are_dropped(world: World, other: World) -> None:
    await ran(world, DAYS[:3], "x" * 1_000)
    await ran(world, DAYS[3:5], "y" * 1_000)
    await ran(other, DAYS[:3], "z" * 1_000)
    assert (await usage(world.caller, world.service)).log_bytes == 5_000
    await trimmed(world)
    assert len(await log_sizes(world)) == 5, "no quota is set"
    await limit(world, log_bytes=2_500)
    await trimmed(world)
    assert (
        (await usage(world.caller, world.service)).log_bytes == 2_000 == sum(await log_sizes(world))
    )
    logs = [
        (await task_log(world.caller, world.service, str(row["id"]))).attempts[0].log
        for row in await world.rows(
            "SELECT id FROM all_tasks WHERE org_id = %s ORDER BY id", world.org.id
        )
    ]
    assert logs == [DROPPED] * 3 + ["y" * 1_000] * 2
    assert await log_sizes(other) == [1_000] * 3
    async with other.conn() as conn:
        assert await stored_log_bytes(conn, other.org.id) == 3_000


async def test_logs_are_dropped_in_batches(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("engine.flow.retention.trim_logs._BATCH", 2)
    await ran(world, DAYS[:7], "x" * 500)
    await limit(world, log_bytes=1)
    await trimmed(world)
    assert await log_sizes(world) == []
    async with world.conn() as conn:
        assert await stored_log_bytes(conn, world.org.id) == 0


async def test_sizes_that_no_log_explains_are_corrected(world: World) -> None:
    """Expired logs, for example."""
    await ran(world, DAYS[:1], "x" * 500)
    await world.rows("DELETE FROM task_attempts_history RETURNING 1")
    await limit(world, log_bytes=1)
    await trimmed(world)
    async with world.conn() as conn:
        assert await stored_log_bytes(conn, world.org.id) == 0


async def test_short_logs_do_not_count(world: World) -> None:
    await ran(world, DAYS[:2], "x" * 100)
    async with world.conn() as conn:
        assert await stored_log_bytes(conn, world.org.id) == 0


async def test_the_sizes_of_expired_months_are_forgotten(world: World) -> None:
    await world.rows(
        "INSERT INTO stored_logs SELECT %s, now() - interval '100 days', 5 RETURNING 1",
        world.org.id,
    )
    async with world.conn() as conn:
        await expire(conn, 60, 60, 60, 60)
        assert await stored_log_bytes(conn, world.org.id) == 0
