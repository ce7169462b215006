"""Impact: the plan that would be applied, without a trace."""

import pytest

from engine.api.impact import Hop, Impact, impact
from engine.api.pruning import PrunedEdge
from engine.errors import InvalidInput, UnknownName
from engine.model.event import SourceEvent
from engine.store.database import Database
from tests.support.worlds import WEEKLY, World, job, source

WEEK = ("2013-02-11..2013-02-17",)


async def seen(world: World, dataset: str, *partitions: str, **more: object) -> Impact:
    event = SourceEvent(dataset=dataset, partitions=partitions or None, **more)  # type: ignore[arg-type]
    async with world.conn() as conn:
        return await impact(conn, world.scene, event)


async def a_chain(database: Database) -> World:
    return await World.made(
        database,
        source("a"),
        job("b", "a", columns={"x": ["a.x"], "y": ["a.y"]}),
        job("c", "b", columns={"z": ["b.x"]}, partitioning=WEEKLY),
        job("d", "b", columns={"z": ["b.y"]}),
    )


async def test_jobs_come_parents_first_with_their_partitions_and_tasks(database: Database) -> None:
    world = await a_chain(database)
    view = await seen(world, "a", "2013-02-11..2013-02-18", columns=("x",))
    jobs = {each.job: (each.partitions, each.count, each.tasks) for each in view.jobs}
    assert list(jobs) == ["b", "c"]
    assert jobs["b"] == (("2013-02-11..2013-02-18",), 8, 8)
    assert jobs["c"] == (("2013-W07..2013-W08",), 2, 2)
    assert view.tasks == 10


async def test_what_runs_for_sure_is_told_from_what_may_be_spared(database: Database) -> None:
    view = await seen(await a_chain(database), "a", *WEEK, columns=("x",))
    first, second = view.jobs
    assert (first.direct, second.direct) == (WEEK, ())
    assert first.via[0].from_job is None
    assert second.via == (Hop("b", "b", second.via[0].mapping),)


async def test_pruned_edges_say_by_which_rule(database: Database) -> None:
    view = await seen(await a_chain(database), "a", *WEEK, columns=("x",))
    detail = "changed columns {x} are not read; it reads {y}"
    assert view.pruned == (PrunedEdge("b", "d", "columns", detail),)


async def test_a_column_that_nobody_reads_hits_nothing(database: Database) -> None:
    view = await seen(await a_chain(database), "a", *WEEK, columns=("notes",))
    assert (view.jobs, view.tasks) == ((), 0)
    assert [each.job for each in view.pruned] == ["b"]


async def test_a_produced_dataset_is_made_again_itself(database: Database) -> None:
    view = await seen(await a_chain(database), "b", "2013-02-11")
    assert [each.job for each in view.jobs] == ["b", "c", "d"]
    assert view.jobs[0].via == (Hop("b", None, None),)


async def test_nothing_is_written(database: Database) -> None:
    world = await a_chain(database)
    count = """SELECT (SELECT count(*) FROM tasks) + (SELECT count(*) FROM plans)
               + (SELECT count(*) FROM data_invalidations)
               + (SELECT count(*) FROM partition_versions) AS rows"""
    before = await world.rows(count)
    assert (await seen(world, "a", *WEEK)).tasks > 0
    assert await world.rows(count) == before


async def test_impact_is_what_the_plan_then_does(database: Database) -> None:
    world = await a_chain(database)
    view = await seen(world, "a", *WEEK)
    await world.change("a", *WEEK)
    planned = await world.plan()
    assert planned is not None
    assert planned.tasks == view.tasks


async def test_a_wrong_event_is_refused(database: Database) -> None:
    world = await a_chain(database)
    with pytest.raises(UnknownName, match="nowhere"):
        await seen(world, "nowhere")
    with pytest.raises(InvalidInput, match="not the one that is served"):
        await seen(world, "a", version="018f0000-0000-7000-8000-000000000000")
