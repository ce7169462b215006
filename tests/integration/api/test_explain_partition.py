"""Explaining a partition: fresh or stale, for which reasons, and what it was spared."""

import pytest

from engine.api.explain_partition import ExplainedPartition, explain_partition
from engine.errors import InvalidPartition, UnknownName
from engine.store.database import Database
from tests.support.worlds import World, job, source

DAY, OTHER = "2013-02-13", "2013-02-14"


async def explained(world: World, dataset: str, key: str = DAY) -> ExplainedPartition:
    async with world.conn() as conn:
        return await explain_partition(conn, world.scene, dataset, key)


async def built(database: Database) -> World:
    """Two datasets of which one day has been made."""
    world = await World.made(
        database,
        source("a"),
        job("b", "a", columns={"y": ["a.x"]}),
        job("c", "b", columns={"z": ["b.y"]}),
    )
    await world.changed("a", DAY)
    await world.run()
    return world


async def test_what_was_made_is_fresh(database: Database) -> None:
    world = await built(database)
    view = await explained(world, "c")
    assert (view.stale, view.unfinished, view.spared) == ((), (), ())
    assert view.materialized_at is not None
    assert view.task_id == (await world.task(f"c[{DAY}]", "succeeded"))["id"]


async def test_what_was_never_made_is_stale(database: Database) -> None:
    view = await explained(await built(database), "c", OTHER)
    assert view.stale == ("it has never been made",)
    assert view.materialized_at is None


async def test_an_invalidation_without_a_plan_makes_it_stale(database: Database) -> None:
    world = await built(database)
    requested = await world.change("c", "2013-02-10..2013-02-15")
    view = await explained(world, "c")
    assert view.open_invalidations == requested.invalidations
    assert view.stale == ("it was found stale, and is not planned yet",)
    assert (await explained(world, "b")).stale == ()


async def test_a_newer_input_makes_it_stale_and_so_does_its_task(database: Database) -> None:
    world = await built(database)
    await world.changed("a", DAY)
    view = await explained(world, "b")
    (newer,) = view.newer_inputs
    assert (newer.dataset, newer.partition) == ("a", DAY)
    assert newer.read is not None
    assert newer.read < newer.now
    assert view.stale == (
        f"its input a has changed since it was read: {DAY}",
        "a task that makes it is queued",
    )
    assert (await explained(world, "c")).stale == ("a task that makes it is blocked",)


async def test_a_new_definition_has_never_been_made(database: Database) -> None:
    world = await built(database)
    await world.deploy(
        source("a"),
        job("b", "a", columns={"y": ["a.x"]}, config={"callable": "else:where"}),
        job("c", "b", columns={"z": ["b.y"]}),
    )
    stale = (await explained(world, "c")).stale
    assert stale[0] == "it has never been made"


async def test_a_change_of_unread_columns_says_where_it_was_pruned(database: Database) -> None:
    world = await built(database)
    await world.changed("a", DAY, columns=("notes",), reason="correction")
    assert (await explained(world, "b")).stale == ()
    view = await explained(world, "c")
    assert view.stale == ()
    (spared,) = view.spared
    assert (spared.dataset, spared.reason) == ("a", "correction")
    assert [(edge.job, edge.rule) for edge in spared.pruned] == [("b", "columns")]


async def test_a_change_of_other_partitions_says_which(database: Database) -> None:
    world = await built(database)
    await world.changed("a", OTHER)
    await world.run()
    for key, touched in ((DAY, OTHER), (OTHER, DAY)):
        (spared,) = (await explained(world, "c", key)).spared
        (edge,) = spared.pruned
        assert (edge.job, edge.rule) == ("c", "partitions")
        assert edge.detail == f"it touched {touched} only"


async def test_a_job_for_people_to_start_is_stale_until_they_do(database: Database) -> None:
    world = await World.made(database, source("a"), job("b", "a", activation="manual"))
    await world.changed("b", DAY)
    await world.run()
    await world.changed("a", DAY)
    assert (await explained(world, "b")).stale == (
        f"its input a has changed since it was read: {DAY}",
    )


async def test_a_source_is_as_it_was_last_heard_of(database: Database) -> None:
    view = await explained(await built(database), "a")
    assert (view.is_source, view.stale, view.task_id) == (True, (), None)


async def test_only_one_partition_is_explained(database: Database) -> None:
    world = await built(database)
    for text in ("*", "2013-02-01..2013-02-03", "nonsense"):
        with pytest.raises(InvalidPartition):
            await explained(world, "c", text)
    with pytest.raises(UnknownName):
        await explained(world, "nowhere")
