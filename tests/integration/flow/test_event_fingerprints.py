"""Events with a fingerprint: data that is described as it is triggers nothing."""

from typing import Any

import pytest

from engine.errors import InvalidInput
from engine.flow.ingestion.ingest import ingest
from engine.flow.planning.approve import approve
from engine.flow.planning.audit import audit_all
from engine.flow.planning.set_aside import replay
from engine.model.event import Batch, Delivery, Received, SourceEvent
from engine.store.database import Database
from engine.store.orgs import set_setting
from tests.support.worlds import World, job, source

DAY, NEXT = "2013-02-13", "2013-02-14"


@pytest.fixture
async def world(database: Database) -> World:
    """A source with a reader; its first day was described as A."""
    world = await World.made(database, source("a"), job("b", "a"))
    await described(world, "A", DAY)
    assert await world.run() == [f"b[{DAY}]"]
    return world


async def described(world: World, fingerprint: str | None, *partitions: str, **more: Any) -> None:
    await world.changed("a", *partitions, fingerprint=fingerprint, **more)


async def outcomes(world: World) -> list[str]:
    rows = await world.rows("SELECT outcome FROM data_invalidations ORDER BY id")
    return [row["outcome"] for row in rows]


async def test_the_same_fingerprint_triggers_nothing(world: World) -> None:
    await described(world, "A", DAY)
    assert await world.run() == []
    assert (await outcomes(world))[-2:] == ["planned", "unchanged"]
    async with world.conn() as conn:
        assert (await audit_all(conn, world.org)).lost == 0


async def test_another_fingerprint_is_a_change(world: World) -> None:
    await described(world, "B", DAY)
    assert await world.run() == [f"b[{DAY}]"]
    await described(world, "A", DAY)
    assert await world.run() == [f"b[{DAY}]"]


async def test_only_partitions_described_otherwise_change(world: World) -> None:
    await described(world, "A", DAY, NEXT)
    assert await world.run() == [f"b[{NEXT}]"]
    await described(world, "A", DAY, NEXT)
    assert await world.run() == []


async def test_a_change_without_a_fingerprint_removes_it(world: World) -> None:
    await described(world, None, DAY)
    assert await world.run() == [f"b[{DAY}]"]
    await described(world, "A", DAY)
    assert await world.run() == [f"b[{DAY}]"]


async def test_a_change_of_the_whole_dataset_removes_all_fingerprints(world: World) -> None:
    await world.changed("a")
    assert await world.run() == [f"b[{DAY}]"]
    await described(world, "A", DAY)
    assert await world.run() == [f"b[{DAY}]"]


async def test_events_planned_together_are_compared_in_order(world: World) -> None:
    for fingerprint in ("B", "A"):
        await world.change("a", DAY, fingerprint=fingerprint)
    await world.plan()
    assert await world.run() == [f"b[{DAY}]"]
    await described(world, "A", DAY)
    assert await world.run() == []
    await world.change("a", DAY, fingerprint="B")
    await world.change("a", DAY)
    await world.plan()
    await world.run()
    await described(world, "B", DAY)
    assert await world.run() == [f"b[{DAY}]"]


async def test_a_change_of_the_whole_dataset_removes_fingerprints_planned_with_it(
    world: World,
) -> None:
    await world.change("a", DAY, fingerprint="B")
    await world.change("a")
    await world.plan()
    assert await world.run() == [f"b[{DAY}]"]
    await described(world, "B", DAY)
    assert await world.run() == [f"b[{DAY}]"]


async def test_merged_events_with_several_fingerprints_leave_none(world: World) -> None:
    """The order of merged events is lost, so the last fingerprint is unknown."""
    events = [
        SourceEvent(dataset="a", partitions=(DAY,), fingerprint=fingerprint)
        for fingerprint in ("A", "B", "A")
    ]
    received = tuple(
        Received.one(event, Delivery("kafka/t/0", str(n))) for n, event in enumerate(events)
    )
    async with world.conn() as conn:
        await ingest(conn, world.org, Batch(consumer="kafka", received=received))
    await world.plan()
    assert await world.run() == [f"b[{DAY}]"]
    for fingerprint in ("B", "A"):
        await described(world, fingerprint, DAY)
        assert await world.run() == [f"b[{DAY}]"]


async def test_merged_events_about_other_partitions_keep_their_fingerprints(world: World) -> None:
    received = tuple(
        Received.one(
            SourceEvent(dataset="a", partitions=(day,), fingerprint=day),
            Delivery("kafka/t/0", day),
        )
        for day in (DAY, NEXT)
    )
    async with world.conn() as conn:
        await ingest(conn, world.org, Batch(consumer="kafka", received=received))
    await world.plan()
    assert len(await world.run()) == 2
    for day in (DAY, NEXT):
        await described(world, day, day)
    assert await world.run() == []


async def test_an_unpartitioned_source_has_one_fingerprint(database: Database) -> None:
    world = await World.made(database, source("a", {}), job("b", "a", partitioning={}))
    for expected in (["b[*]"], []):
        await described(world, "v1")
        assert await world.run() == expected


async def test_an_event_about_some_columns_or_rows_has_no_fingerprint(database: Database) -> None:
    """Another event with the same version may report the other ones."""
    read = source("a")
    read["outputs"][0]["columns"] = ["x", "y"]
    world = await World.made(database, read, job("b", "a"))
    await described(world, "v1", DAY)
    await world.run()
    for columns, rows in ((("x",), None), (("y",), None), (("y",), {"x": 2})):
        await described(world, "v2", DAY, columns=columns, rows=rows)
        assert await world.run() == [f"b[{DAY}]"]


async def test_a_late_approval_does_not_hide_a_later_change(world: World) -> None:
    await described(world, "A", NEXT)
    await world.run()
    async with world.conn() as conn:
        await set_setting(conn, world.org.id, "blast_radius", 1)
    await described(world, "B", DAY, NEXT)
    (plan,) = await world.rows("SELECT id FROM plans WHERE state = 'pending_approval'")
    await described(world, "C", DAY)
    assert await world.run() == [f"b[{DAY}]"]
    async with world.conn() as conn:
        await approve(conn, world.org, plan["id"])
    await world.run()
    await described(world, "B", DAY)
    assert await world.run() == [f"b[{DAY}]"]


async def test_an_invalidation_set_aside_leaves_no_fingerprint(world: World) -> None:
    """Its change is unknown until the replay, and a run may have read it meanwhile."""
    requested = await world.change("a", DAY, fingerprint="B")
    ids = list(requested.invalidations)
    await world.rows(
        "UPDATE data_invalidations SET partition_key = 'no day' WHERE id = ANY(%s) RETURNING id",
        ids,
    )
    await world.plan()
    await described(world, "A", DAY)
    assert await world.run() == [f"b[{DAY}]"]
    await world.rows(
        "UPDATE data_invalidations SET partition_key = %s WHERE id = ANY(%s) RETURNING id", DAY, ids
    )
    async with world.conn() as conn:
        await replay(conn, world.org, None)
    await world.plan()
    assert await world.run() == [f"b[{DAY}]"]
    await described(world, "B", DAY)
    assert await world.run() == [f"b[{DAY}]"]


async def test_a_produced_dataset_takes_no_fingerprint(world: World) -> None:
    with pytest.raises(InvalidInput, match="a job produces the dataset: omit it"):
        await world.change("b", DAY, fingerprint="A")
