"""A world in which datasets are hidden from users without a role."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from engine.model.event import SourceEvent
from engine.model.states import PauseKind, Role
from engine.service.caller import Caller
from engine.service.commands.orgs import set_blast_radius
from engine.service.commands.pauses import pause
from engine.service.commands.proposals import propose
from engine.store.database import Database
from engine.store.run import execute
from tests.support.worlds import DAILY, World, job, source

DAYS = [f"2013-02-{day:02}" for day in range(1, 15)]
MARK = "zzsecret"
SEEN = "visible"


def hidden_job(name: str, *inputs: str) -> dict[str, Any]:
    made = job(f"make_{name}", *inputs)
    made["outputs"] = [
        {"dataset": name, "partitioning": DAILY, "read_roles": ["finance"]},
    ]
    return made


def hidden_source(name: str, kind: dict[str, str]) -> dict[str, Any]:
    made = source(name, source=kind)
    made["outputs"][0]["read_roles"] = ["finance"]
    return made


@dataclass
class Hidden:
    """A world with hidden things, their ids, and the users with and without the role."""

    world: World
    ids: Mapping[str, str]
    secrets: frozenset[str]

    def user(self, role: Role, *org_roles: str) -> Caller:
        return Caller(self.world.caller.org, "rea", role, org_roles=frozenset(org_roles))


async def hidden_world(database: Database) -> Hidden:
    """A world with work on hidden things in every state."""
    world = await World.made(
        database,
        source("start"),
        hidden_job("zzsecret_mid", "start"),
        job(SEEN, "zzsecret_mid"),
        hidden_source("zzsecret_feed", {"kind": "kafka", "topic": "zzsecret_topic"}),
        job("below", "zzsecret_feed", SEEN),
    )
    await world.deploy(hidden_source("zzsecret_old", {"kind": "manual"}), dag="zzsecret_dag")
    nightly = {"kind": "schedule", "cron": "0 2 * * *"}
    await world.deploy(hidden_source("zzsecret_nightly", nightly), dag="zzsecret_nights")
    await world.deploy(
        hidden_source("zzsecret_in", {"kind": "http", "endpoint": "zzsecret_end"}),
        dag="zzsecret_http",
    )
    await _work(world)
    return Hidden(world, await _ids(world), await _secrets(world))


async def _work(world: World) -> None:
    await world.changed("start", DAYS[0])
    await world.run()
    await world.changed("start", DAYS[1])
    (lease, *_) = await world.claim()
    await world.rows(
        "UPDATE tasks SET status = 'failed', lease_token = NULL, lease_expires_at = NULL, "
        "error_message = 'no zzsecret_mid' WHERE id = %s RETURNING id",
        lease.task_id,
    )
    await world.changed("zzsecret_mid", DAYS[2])
    await world.changed("zzsecret_feed", DAYS[3])
    await propose(world.caller, world.service, SourceEvent(dataset="zzsecret_mid"))
    await set_blast_radius(world.caller, world.service, 1)
    await world.changed("start", f"{DAYS[5]}..{DAYS[7]}")
    await world.changed("zzsecret_mid", f"{DAYS[8]}..{DAYS[10]}")
    await set_blast_radius(world.caller, world.service, None)
    await world.change("zzsecret_mid", DAYS[11])
    await world.change("start", DAYS[11])
    await world.rows(
        "UPDATE data_invalidations SET planning_error = 'zzsecret_mid is too large', "
        "set_aside_at = now() WHERE processed_at IS NULL AND plan_id IS NULL RETURNING id"
    )
    await world.change("zzsecret_feed", DAYS[12])
    for kind, name in ((PauseKind.DATASET, "zzsecret_mid"), (PauseKind.JOB, "make_zzsecret_mid")):
        await pause(world.caller, world.service, kind, name, reason=f"for {name}")
    await world.rows(
        "INSERT INTO dead_letters (id, org_id, consumer, stream, position, payload, headers, "
        "error) SELECT gen_random_uuid(), %s, 'knockon.default', s, '1', 'zzsecret_mid', '{}', "
        "'zzsecret_mid' FROM unnest(ARRAY['kafka/zzsecret_topic/0', 'http/zzsecret_end']) AS s "
        "RETURNING id",
        world.org.id,
    )
    await world.rows(
        "INSERT INTO consumer_positions (org_id, consumer, stream, position) VALUES "
        "(%s, 'knockon.default', 'kafka/zzsecret_topic/0', '7') RETURNING stream",
        world.org.id,
    )
    await world.rows("SELECT knockon.add_history_partition('knockon.events', now())")
    async with world.conn() as conn:
        while await publish_events(conn):
            pass


async def publish_events(conn: Any) -> bool:
    return bool(await execute(conn, "events.publish", limit=1_000))


async def _ids(world: World) -> dict[str, str]:
    rows = await world.rows(
        "SELECT t.id::text, j.name, t.status FROM tasks t JOIN jobs j ON j.id = t.job_id "
        "ORDER BY t.id"
    )
    ids = {f"{row['name']} {row['status']}": row["id"] for row in rows}
    for name, where in (
        (
            "invalidation",
            "SELECT i.id::text FROM data_invalidations i JOIN datasets d ON "
            "d.id = i.dataset_uuid WHERE d.name = 'zzsecret_mid' AND planning_error IS NOT NULL",
        ),
        ("letter", "SELECT id::text FROM dead_letters LIMIT 1"),
        (
            "version",
            "SELECT dag_version_id::text AS id FROM dag_current_versions "
            "WHERE dag_name = 'zzsecret_dag'",
        ),
        (
            "pending",
            "SELECT id::text FROM plans WHERE state = 'pending_approval' ORDER BY id LIMIT 1",
        ),
        ("proposed", "SELECT id::text FROM plans WHERE state = 'proposed' LIMIT 1"),
    ):
        ids[name] = (await world.rows(where))[0]["id"]
    return ids


async def _secrets(world: World) -> frozenset[str]:
    """Everything that no user without the role may see."""
    rows = await world.rows(
        "SELECT id::text FROM datasets WHERE name LIKE 'zzsecret%%' UNION ALL "
        "SELECT dataset_version::text FROM current_datasets c JOIN datasets d ON "
        "d.id = c.dataset_uuid WHERE d.name LIKE 'zzsecret%%' UNION ALL "
        "SELECT id::text FROM jobs WHERE name LIKE '%%zzsecret%%' UNION ALL "
        "SELECT t.id::text FROM tasks t JOIN jobs j ON j.id = t.job_id "
        "WHERE j.name LIKE '%%zzsecret%%' UNION ALL "
        "SELECT i.id::text FROM data_invalidations i JOIN datasets d ON d.id = i.dataset_uuid "
        "WHERE d.name LIKE 'zzsecret%%' UNION ALL SELECT id::text FROM dead_letters UNION ALL "
        "SELECT dag_version_id::text FROM dag_current_versions WHERE dag_name LIKE 'zzsecret%%'"
    )
    return frozenset({MARK, *(row["id"] for row in rows)})
