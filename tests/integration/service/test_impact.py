"""Impact: the plan of a change, stored for applying."""

import pytest

from engine.errors import InvalidInput, UnknownName
from engine.flow.planning.estimate import Cost, Estimate
from engine.model.event import SourceEvent
from engine.service.commands.proposals import Impact, propose
from engine.service.queries.impacted_jobs import Hop
from engine.service.queries.pruning import PrunedEdge
from engine.store.database import Database
from tests.support.worlds import WEEKLY, World, job, source

WEEK = ("2013-02-11..2013-02-17",)


async def seen(world: World, dataset: str, *partitions: str, **more: object) -> Impact:
    event = SourceEvent(dataset=dataset, partitions=partitions or None, **more)  # type: ignore[arg-type]
    return await propose(world.caller, world.service, event)


async def a_chain(database: Database) -> World:
    """A world with the days of February reported and built."""
    world = await World.made(
        database,
        source("a"),
        job("b", "a", columns={"x": ["a.x"], "y": ["a.y"]}),
        job("c", "b", columns={"z": ["b.x"]}, partitioning=WEEKLY),
        job("d", "b", columns={"z": ["b.y"]}),
    )
    await world.changed("a", "2013-02-01..2013-02-28")
    await world.run()
    return world


async def test_jobs_are_ordered_upstream_first(database: Database) -> None:
    world = await a_chain(database)
    view = await seen(world, "a", "2013-02-11..2013-02-18", columns=("x",))
    jobs = {each.job: (each.partitions, each.count, each.tasks) for each in view.jobs}
    assert list(jobs) == ["b", "c"]
    assert jobs["b"] == (("2013-02-11..2013-02-18",), 8, 8)
    assert jobs["c"] == (("2013-W07..2013-W08",), 2, 2)
    assert view.tasks == 10


async def test_directly_invalidated_partitions_are_listed_separately(database: Database) -> None:
    view = await seen(await a_chain(database), "a", *WEEK, columns=("x",))
    first, second = view.jobs
    assert (first.directly_invalidated, second.directly_invalidated) == (WEEK, ())
    assert first.via[0].from_job is None
    assert second.via == (Hop("b", "b", second.via[0].mapping),)


async def test_pruned_edges_have_a_rule(database: Database) -> None:
    view = await seen(await a_chain(database), "a", *WEEK, columns=("x",))
    detail = "changed columns {x} are not read; it reads {y}"
    assert view.pruned == (PrunedEdge("b", "d", "columns", detail),)


async def test_an_unread_column_affects_nothing(database: Database) -> None:
    view = await seen(await a_chain(database), "a", *WEEK, columns=("notes",))
    assert (view.jobs, view.tasks) == ((), 0)
    assert [each.job for each in view.pruned] == ["b"]


async def test_a_produced_dataset_is_rebuilt(database: Database) -> None:
    view = await seen(await a_chain(database), "b", "2013-02-11")
    assert [each.job for each in view.jobs] == ["b", "c", "d"]
    assert view.jobs[0].via == (Hop("b", None, None),)


async def test_all_columns_of_a_new_partition_are_dirty(database: Database) -> None:
    view = await seen(await a_chain(database), "a", "2013-03-01", columns=("notes",))
    assert [each.job for each in view.jobs] == ["b", "c", "d"]


async def test_only_the_proposal_is_written(database: Database) -> None:
    world = await a_chain(database)
    count = """SELECT (SELECT count(*) FROM tasks) + (SELECT count(*) FROM data_invalidations)
               + (SELECT count(*) FROM partition_versions) AS rows"""
    before = await world.rows(count)
    view = await seen(world, "a", *WEEK)
    assert await world.rows(count) == before
    (kept,) = await world.rows("SELECT * FROM plans WHERE state <> 'applied'")
    assert (kept["id"], kept["state"], kept["task_count"]) == (view.plan_id, "proposed", view.tasks)


async def test_the_estimate_comes_from_earlier_runs(database: Database) -> None:
    world = await a_chain(database)
    await world.rows(
        "UPDATE tasks t SET completed_at = started_at + 4 * interval '1 second' * "
        "cardinality(t.partitions) FROM jobs j WHERE j.id = t.job_id AND j.name = 'b' RETURNING 1"
    )
    await world.rows(
        "UPDATE partition_versions SET bytes = 100 WHERE dataset_uuid = %s RETURNING bytes",
        await world.dataset_id("b"),
    )
    await world.rows(
        "DELETE FROM tasks USING jobs j WHERE j.id = job_id AND j.name = 'd' RETURNING 1"
    )
    view = await seen(world, "a", *WEEK)
    by_job = {each.job: each.estimate for each in view.jobs}
    assert by_job["b"] == Cost(28.0, 700.0)
    assert by_job["d"] == Cost(None, None)
    assert (view.estimate.unknown_seconds, view.estimate.unknown_bytes) == (1, 2)
    assert view.estimate.bytes == 700.0


async def test_a_job_without_runs_has_no_estimate(database: Database) -> None:
    world = await World.made(database, source("a"), job("b", "a"))
    view = await seen(world, "a", *WEEK)
    assert view.estimate == Estimate(0, 0, 1, 1)


async def test_impact_equals_the_plan(database: Database) -> None:
    world = await a_chain(database)
    view = await seen(world, "a", *WEEK)
    await world.change("a", *WEEK)
    planned = await world.plan()
    assert planned is not None
    assert planned.tasks == view.tasks


async def test_an_invalid_event_is_rejected(database: Database) -> None:
    world = await a_chain(database)
    with pytest.raises(UnknownName, match="nowhere"):
        await seen(world, "nowhere")
    with pytest.raises(InvalidInput, match="not the current one"):
        await seen(world, "a", version="018f0000-0000-7000-8000-000000000000")
