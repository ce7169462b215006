"""Gauges that an engine computes from the database."""

from typing import Any

from engine.model.states import PauseKind
from engine.monitor.backlog_gauges import BacklogGauges
from engine.service.commands.pauses import pause
from engine.store.database import Database
from engine.store.queries import query
from tests.support.worlds import World, job, source

DAY = "2013-02-13"
LETTER = """INSERT INTO dead_letters (id, org_id, consumer, stream, position, error)
            SELECT gen_random_uuid(), id, 'k', 's', '1', 'e' FROM orgs"""


async def _told(world: World) -> dict[Any, float]:
    """The values of a new backlog, by name, or by (name, label) if labeled."""
    backlog = BacklogGauges(world.database, world.org.id)
    await backlog.refresh()
    return _values(backlog.collect())


def _values(metrics: Any) -> dict[Any, float]:
    values: dict[Any, float] = {}
    for metric in metrics:
        for sample in metric.samples:
            labels = [value for label, value in sample.labels.items() if label != "org"]
            values[(sample.name, *labels) if labels else sample.name] = sample.value
    return values


async def test_an_empty_org_has_no_backlog(database: Database) -> None:
    told = await _told(await World.made(database, source("a"), job("b", "a")))
    assert told.pop("knockon_database_up") == 1
    assert told["knockon_tasks", "queued"] == 0
    assert set(told.values()) == {0}


async def test_the_backlog_is_counted_by_state(database: Database) -> None:
    world = await World.made(
        database,
        source("a"),
        source("z"),
        job("b", "a"),
        job("c", "b"),
        job("d", {"dataset": "z", "wait_for": "all"}, partitioning={}),
    )
    await world.changed("a", DAY, "2013-02-14")
    await world.changed("z", DAY)
    (lease,) = await world.claim(1)
    await world.rows(
        "UPDATE tasks SET lease_expires_at = now() - interval '1 hour' WHERE id = %s RETURNING id",
        lease.task_id,
    )
    await world.rows(
        "UPDATE tasks SET status = 'failed' WHERE status = 'queued' AND block_key = '2013-02-14'"
        " RETURNING id"
    )
    await world.change("a", DAY)
    await world.rows(LETTER + " RETURNING id")
    await world.rows(
        "UPDATE data_invalidations SET created_at = now() - interval '1 hour'"
        " WHERE processed_at IS NULL RETURNING id"
    )
    told = await _told(world)
    states = {name[1]: value for name, value in told.items() if name[0] == "knockon_tasks"}
    assert states == {"blocked": 2, "waiting_for_inputs": 1, "queued": 0, "running": 1, "failed": 1}
    assert told["knockon_expired_leases"] == 1
    assert told["knockon_busy_workers"] == 1
    assert told["knockon_open_invalidations"] == 1
    assert told["knockon_oldest_invalidation_seconds"] >= 3600
    assert told["knockon_open_dead_letters"] == 1


async def test_the_wait_of_a_queued_task_starts_when_it_becomes_claimable(
    database: Database,
) -> None:
    world = await World.made(database, source("a"), job("b", "a"))
    await world.changed("a", DAY)
    await world.rows("UPDATE tasks SET queued_at = now() - interval '1 minute' RETURNING id")
    assert (await _told(world))["knockon_oldest_queued_task_seconds"] >= 60
    (lease,) = await world.claim()
    assert lease.waited_seconds >= 60


async def test_plans_pending_approval_are_reported_with_their_age(database: Database) -> None:
    world = await World.made(database, source("a"), job("b", "a"))
    await world.rows(
        "INSERT INTO plans (id, org_id, created_at, lineage_epoch, invalidation_ids, document,"
        " state, exceeded_limits)"
        " SELECT gen_random_uuid(), id, now() - interval '1 hour', 1, '{}', '{}',"
        " 'pending_approval', 'a limit' FROM orgs RETURNING id"
    )
    told = await _told(world)
    assert told["knockon_plans_pending_approval"] == 1
    assert told["knockon_oldest_plan_pending_approval_seconds"] >= 3600


async def test_the_backlog_of_another_org_is_not_counted(database: Database) -> None:
    world = await World.made(database, source("a"), job("b", "a"))
    await world.changed("a", DAY)
    (other,) = await world.rows("INSERT INTO orgs (name, slug) VALUES ('o', 'o') RETURNING id")
    backlog = BacklogGauges(database, other["id"])
    await backlog.refresh()
    assert _values(backlog.collect())["knockon_tasks", "queued"] == 0


async def test_an_unavailable_database_is_reported(database_url: str) -> None:
    async with await Database.open(database_url) as database:
        world = await World.made(database, source("a"), job("b", "a"))
    backlog = BacklogGauges(world.database, world.org.id)
    await backlog.refresh()
    assert _values(backlog.collect()) == {"knockon_database_up": 0}


async def test_a_long_history_is_not_read(database: Database) -> None:
    """Finished work causes no table scans; only pending work is read."""
    world = await World.made(database, source("a"), job("b", "a"))
    await world.changed("a", DAY)
    await world.rows(
        "INSERT INTO tasks (id, job_id, status, org_id, runtime, block_key, must_run)"
        " SELECT gen_random_uuid(), job_id, 'succeeded', org_id, runtime, n::text, true"
        " FROM tasks, generate_series(1, 20000) AS n RETURNING 1 AS one"
    )
    async with world.database.transaction() as conn:
        await conn.execute(query("monitor.caution").encode())
        cursor = await conn.execute(
            ("EXPLAIN (ANALYZE, FORMAT JSON) " + query("monitor.backlog")).encode(),
            {"org_id": world.org.id, "most": 100_000},
        )
        (row,) = await cursor.fetchall()
    read = list(_scans(row["QUERY PLAN"][0]["Plan"]))
    assert read
    assert all(scan["Node Type"] != "Seq Scan" for scan in read)
    assert sum(scan["Actual Rows"] + scan.get("Rows Removed by Filter", 0) for scan in read) < 100


def _scans(node: dict[str, Any]) -> Any:
    if "Relation Name" in node:
        yield node
    for child in node.get("Plans", ()):
        yield from _scans(child)


async def test_tasks_of_a_paused_job_do_not_count_as_waiting(database: Database) -> None:
    world = await World.made(database, source("a"), job("b", "a"))
    await world.changed("a", DAY)
    await world.rows("UPDATE tasks SET queued_at = now() - interval '1 hour' RETURNING id")
    assert (await _told(world))["knockon_oldest_queued_task_seconds"] >= 3600
    await pause(world.caller, world.service, PauseKind.JOB, "b")
    told = await _told(world)
    assert told["knockon_oldest_queued_task_seconds"] == 0
    assert told["knockon_tasks", "queued"] == 1


async def test_each_org_has_its_own_gauges(database: Database) -> None:
    world = await World.made(database, source("a"), job("b", "a"))
    await world.changed("a", DAY)
    await world.rows("INSERT INTO orgs (name, slug) VALUES ('o', 'o') RETURNING id")
    backlog = BacklogGauges(database, None)
    await backlog.refresh()
    queued = {
        sample.labels["org"]: sample.value
        for metric in backlog.collect()
        for sample in metric.samples
        if sample.labels.get("state") == "queued"
    }
    assert queued == {"default": 1, "o": 0}
