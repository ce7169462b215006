"""From OpenLineage's run events to facts in the ledger, by what deployed DAG files say."""

from typing import Any

import msgspec

from consumers.replay import replay
from consumers.sources import load_sources
from engine.api.dead_letters import dead_letters
from engine.flow.ingest import Ingested, ingest
from engine.model.event import Batch, Delivery, Rejection
from engine.store.database import Database
from tests.support.worlds import DAILY, WEEKLY, World, job, source

FACTS = """SELECT d.name, i.partition_key, i.reason, i.source_event #>> '{event,note}' AS note
           FROM data_invalidations i JOIN datasets d ON d.id = i.dataset_uuid
           WHERE i.source_event ->> 'stream' LIKE 'kafka/%%'
           ORDER BY d.name, i.partition_key"""


def told(name: str, partitioning: dict[str, Any], **more: Any) -> dict[str, Any]:
    """A source that one lineage topic tells of."""
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
    """What comes of a delivery, as the deployed DAGs have it read."""
    async with world.conn() as conn:
        reader = (await load_sources(conn, world.scene)).readers()["lineage"]
        outcome = reader.read(delivery)
        assert not isinstance(outcome, Rejection)
        return await ingest(conn, world.scene, Batch(consumer="k", received=tuple(outcome)))


async def test_a_run_invalidates_all_that_it_wrote(database: Database) -> None:
    world = await World.made(
        database, told("orders", DAILY), told("visits", WEEKLY), job("made", "orders")
    )

    done = await taken(world, completed(written("orders", "2013-02-13"), written("visits")))
    await world.plan()

    assert done.rejections == ()
    orders, visits = await world.rows(FACTS)
    assert [*orders.values()] == ["orders", "2013-02-13", "change", None]
    assert [visits["name"], visits["partition_key"]] == ["visits", None]
    assert "no facet `subset`" in visits["note"]
    assert await world.tasks() == {"queued": ["made[2013-02-13]"]}


async def test_an_unknown_dataset_is_a_dead_letter_by_itself(database: Database) -> None:
    world = await World.made(database, told("orders", DAILY))

    done = await taken(world, completed(written("users"), written("orders", "2013-02-13")))

    assert [row["name"] for row in await world.rows(FACTS)] == ["orders"]
    [letter] = done.rejections
    assert (letter.position, "db/public.users" in letter.error) == ("7#0", True)

    await world.deploy(told("users", {}), dag="more")
    async with world.conn() as conn:
        stored = await dead_letters(conn, world.scene, limit=1)
        [again] = await replay(conn, world.scene, [stored[0].id])
    assert again.error is None
    assert [row["name"] for row in await world.rows(FACTS)] == ["orders", "users"]


async def test_a_job_may_bind_several_datasets(database: Database) -> None:
    both = told("orders", DAILY, unknown="ignore")
    both["outputs"].append({"dataset": "visits", "partitioning": DAILY})
    world = await World.made(database, both)

    outputs = [written(each, "2013-02-13") for each in ("orders", "users", "visits")]
    done = await taken(world, completed(*outputs))

    assert done.rejections == ()
    assert [row["name"] for row in await world.rows(FACTS)] == ["orders", "visits"]
