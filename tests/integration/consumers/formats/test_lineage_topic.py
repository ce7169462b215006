"""From OpenLineage's run events to invalidations in the ledger, according to DAG files."""

import asyncio
from functools import partial
from typing import Any

import msgspec
import pytest

from consumers.replay import replay
from consumers.sources import load_sources
from engine.flow.deployment.auto_register import auto_register
from engine.flow.ingestion.ingest import Ingested, ingest
from engine.model.event import Batch, Delivery, Rejection
from engine.service.queries.dead_letters import dead_letters
from engine.store.database import Database
from engine.store.orgs import lock_planning
from tests.support.workers import sql_job
from tests.support.worlds import DAILY, WEEKLY, World, job, source

STORED = """SELECT d.name, i.partition_key, i.reason, i.source_event #>> '{event,note}' AS note
           FROM data_invalidations i JOIN datasets d ON d.id = i.dataset_uuid
           WHERE i.source_event ->> 'stream' LIKE 'kafka/%%'
           ORDER BY d.name, i.partition_key"""
WAITING = """SELECT pid FROM pg_locks WHERE locktype = 'advisory' AND NOT granted
             AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"""


def told(name: str, partitioning: dict[str, Any], **more: Any) -> dict[str, Any]:
    """A source reported by one lineage topic."""
    binding = {"kind": "kafka", "topic": "lineage", "format": "openlineage", "namespace": "db"}
    return source(name, partitioning, source={**binding, "name": "public.{dataset}", **more})


def written(name: str, *days: str) -> dict[str, Any]:
    partitions = [{"dimensions": {"dt": day}} for day in days]
    condition = {"outputCondition": {"type": "partition", "partitions": partitions}}
    facets = {"subset": condition} if days else {}
    return {"namespace": "db", "name": f"public.{name}", "outputFacets": facets}


def completed(*outputs: dict[str, Any]) -> Delivery:
    message = {
        "eventType": "COMPLETE",
        "run": {"runId": "01941f29-7c00-7087-8906-40e512c257bd"},
        "job": {"namespace": "loads", "name": "nightly"},
        "outputs": outputs,
    }
    return Delivery("kafka/lineage/0", "7", msgspec.json.encode(message), {})


async def taken(world: World, delivery: Delivery) -> Ingested:
    """Ingest a delivery, read according to the deployed DAGs."""
    async with world.conn() as conn:
        sources = await load_sources(conn, world.org)
        reader = sources.readers(partial(auto_register, conn, world.org))["lineage"]
        await reader.prepare([delivery.value])
        outcome = reader.read(delivery)
        assert not isinstance(outcome, Rejection)
        return await ingest(conn, world.org, Batch(consumer="k", received=tuple(outcome)))


async def test_a_run_invalidates_all_of_its_outputs(database: Database) -> None:
    world = await World.made(
        database, told("orders", DAILY), told("visits", WEEKLY), job("made", "orders")
    )

    done = await taken(world, completed(written("orders", "2013-02-13"), written("visits")))
    await world.plan()

    assert done.rejections == ()
    orders, visits = await world.rows(STORED)
    assert [*orders.values()] == ["orders", "2013-02-13", "change", None]
    assert [visits["name"], visits["partition_key"]] == ["visits", None]
    assert "no facet `subset`" in visits["note"]
    assert await world.tasks() == {"queued": ["made[2013-02-13]"]}


async def test_an_unknown_dataset_is_a_dead_letter_of_its_own(database: Database) -> None:
    world = await World.made(database, told("orders", DAILY))

    done = await taken(world, completed(written("users"), written("orders", "2013-02-13")))

    assert [row["name"] for row in await world.rows(STORED)] == ["orders"]
    [letter] = done.rejections
    assert (letter.position, "db/public.users" in letter.error) == ("7#0", True)

    await world.deploy(told("users", {}), dag="more")
    async with world.conn() as conn:
        stored = await dead_letters(world.caller, world.service, limit=1)
        [again] = await replay(conn, world.org, [stored[0].id])
    assert again.error is None
    assert [row["name"] for row in await world.rows(STORED)] == ["orders", "users"]


async def test_a_source_may_bind_several_datasets(database: Database) -> None:
    both = told("orders", DAILY, unknown="ignore")
    both["outputs"].append({"dataset": "visits", "partitioning": DAILY})
    world = await World.made(database, both)

    outputs = [written(each, "2013-02-13") for each in ("orders", "users", "visits")]
    done = await taken(world, completed(*outputs))

    assert done.rejections == ()
    assert [row["name"] for row in await world.rows(STORED)] == ["orders", "visits"]


def discovering(namespace: str = "db", **more: Any) -> dict[str, Any]:
    rule = {"dag": "found", "name": "shop.{table}", "dataset": "shop_{table}"}
    return told("orders", DAILY, namespace=namespace, discover={**rule, **more})


def heard(name: str, *days: str) -> dict[str, Any]:
    return {**written("", *days), "name": name}


async def test_an_output_matching_a_rule_is_registered(database: Database) -> None:
    world = await World.made(database, discovering())

    done = await taken(world, completed(heard("shop.users", "2013-02-13"), heard("crm.users")))

    [letter] = done.rejections
    assert "db/crm.users" in letter.error
    [invalidation] = await world.rows(STORED)
    assert [invalidation["name"], invalidation["partition_key"]] == ["shop_users", "2013-02-13"]
    rows = await world.rows("SELECT dag_name FROM dag_current_versions ORDER BY 1")
    assert [row["dag_name"] for row in rows] == ["found", "w"]


async def test_a_registered_dataset_can_be_read_and_survives_deploys(database: Database) -> None:
    world = await World.made(database, discovering())
    await taken(world, completed(heard("shop.users", "2013-02-13")))
    await world.deploy(discovering(), job("made", "shop_users"))
    await taken(world, completed(heard("shop.visits", "2013-02-13")))
    await world.deploy(discovering(), job("made", "shop_users", "shop_visits"))
    versions = await world.rows("SELECT count(*) AS n FROM dag_versions WHERE dag_name = 'found'")

    await taken(world, completed(heard("shop.users", "2013-02-13")))
    await world.plan()

    assert await world.tasks() == {"queued": ["made[2013-02-13]"]}
    assert versions == [{"n": 2}]
    assert versions == await world.rows(
        "SELECT count(*) AS n FROM dag_versions WHERE dag_name = 'found'"
    )


async def test_concurrent_consumers_register_a_dataset_once(database: Database) -> None:
    world = await World.made(database, discovering())

    outputs = [heard(f"shop.t{i}", "2013-02-13") for i in range(5)]
    done = await asyncio.gather(*(taken(world, completed(*outputs[i:])) for i in range(4)))

    assert [each.rejections for each in done] == [()] * 4
    names = await world.rows(
        "SELECT name FROM current_datasets WHERE name LIKE 'shop%%' ORDER BY 1"
    )
    assert [row["name"] for row in names] == [f"shop_t{i}" for i in range(5)]


async def test_an_existing_dataset_is_not_registered_again(database: Database) -> None:
    world = await World.made(database, discovering(dataset="{table}"), source("users"))

    done = await taken(world, completed(heard("shop.users"), heard("shop.orders")))

    assert len(done.rejections) == 2
    assert await world.rows(STORED) == []


async def test_two_names_are_never_registered_as_one_dataset(database: Database) -> None:
    world = await World.made(
        database, discovering(name="{a}.{b}", dataset="{a}_{b}"), job("made", "orders")
    )

    done = await taken(world, completed(heard("x_y.z"), heard("x.y_z")))

    [letter] = done.rejections
    assert "db/x.y_z" in letter.error
    assert [row["name"] for row in await world.rows(STORED)] == ["x_y_z"]


async def test_no_dataset_is_registered_in_a_dag_with_jobs(database: Database) -> None:
    world = await World.made(database, discovering())
    await world.deploy(source("mine"), job("made", "mine"), dag="found")

    done = await taken(world, completed(heard("shop.users")))

    assert len(done.rejections) == 1
    assert await world.rows("SELECT 1 FROM datasets WHERE name = 'made'") != []


async def test_each_source_has_its_own_rule(database: Database) -> None:
    crm = discovering(namespace="crm") | {"name": "src_crm"}
    crm["outputs"] = [{"dataset": "leads", "partitioning": {}}]
    crm["source"]["discover"] = {**crm["source"]["discover"], "dataset": "crm_{table}"}
    world = await World.made(database, discovering(), crm)

    outputs = [heard("shop.users", "2013-02-13"), heard("shop.users") | {"namespace": "crm"}]
    done = await taken(world, completed(*outputs))

    assert done.rejections == ()
    assert [(row["name"], row["partition_key"]) for row in await world.rows(STORED)] == [
        ("crm_users", "*"),
        ("shop_users", "2013-02-13"),
    ]


async def test_a_rule_registers_a_limited_number_of_datasets(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("engine.flow.deployment.auto_register.MAX_DATASETS", 3)
    world = await World.made(database, discovering())

    done = await taken(world, completed(*(heard(f"shop.t{i}") for i in range(5))))

    assert len(done.rejections) == 2


def seeded(table: str) -> dict[str, Any]:
    """A job of Knockon that writes a table."""
    job = sql_job("daily", "seed", sql="SELECT 1 AS x FROM seed", partitioning={})
    job["outputs"][0]["storage"] = {"table": table}
    return job


async def test_a_dataset_that_cannot_be_registered_does_not_block_others(
    database: Database,
) -> None:
    tables = [heard(f"shop.{name}", "2013-02-13") for name in ("orders", "sales", "users")]
    world = await World.made(database, discovering(), source("seed", {}), seeded("shop_sales"))
    done = await taken(world, completed(*tables))

    (rejection,) = done.rejections
    assert "shop.sales" in rejection.error
    assert [row["name"] for row in await world.rows(STORED)] == ["shop_orders", "shop_users"]


async def test_a_dataset_that_cannot_be_registered_takes_no_room(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("engine.flow.deployment.auto_register.MAX_DATASETS", 1)
    world = await World.made(database, discovering(), source("seed", {}), seeded("shop_sales"))
    tables = [heard(f"shop.{name}", "2013-02-13") for name in ("orders", "sales")]
    done = await taken(world, completed(*tables))

    assert ["shop.sales" in each.error for each in done.rejections] == [True]
    assert [row["name"] for row in await world.rows(STORED)] == ["shop_orders"]


async def test_datasets_registered_concurrently_are_all_kept(database: Database) -> None:
    world = await World.made(database, discovering())
    names = "users", "orders"
    async with database.transaction() as conn:
        await lock_planning(conn, world.org.id)
        tasks = [
            asyncio.create_task(taken(world, completed(heard(f"shop.{name}", "2013-02-13"))))
            for name in names
        ]
        async with asyncio.timeout(30):
            while len(await world.rows(WAITING)) < len(names):  # noqa: ASYNC110
                await asyncio.sleep(0.01)
    done = await asyncio.gather(*tasks)

    assert [each.rejections for each in done] == [(), ()]
    current = await world.rows("SELECT name FROM current_datasets WHERE name LIKE 'shop%%'")
    assert sorted(row["name"] for row in current) == ["shop_orders", "shop_users"]


async def test_a_rejected_output_is_registered_by_a_later_rule(
    database: Database,
) -> None:
    world = await World.made(database, told("orders", DAILY))
    await taken(world, completed(heard("shop.users", "2013-02-13")))
    await world.deploy(discovering())

    async with world.conn() as conn:
        [letter] = await dead_letters(world.caller, world.service, limit=1)
        [again] = await replay(conn, world.org, [letter.id])

    assert again.error is None
    assert [row["name"] for row in await world.rows(STORED)] == ["shop_users"]


@pytest.mark.parametrize("name", ["shop.", "shop.a b", "shop.a.b", "shop." + "x" * 500])
async def test_a_name_invalid_for_a_dataset_is_not_registered(
    database: Database, name: str
) -> None:
    world = await World.made(database, discovering())
    done = await taken(world, completed(heard(name)))
    assert len(done.rejections) == 1
    assert await world.rows("SELECT 1 FROM datasets WHERE name LIKE 'shop%%'") == []
