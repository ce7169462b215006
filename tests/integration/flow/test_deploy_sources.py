"""Deploys of changed sources, and of jobs over sources that no event has named."""

import json
from typing import Any

import pytest

from engine.flow.deployment.deploy import preview
from engine.flow.execution.cancel import cancel
from engine.flow.planning.approve import approve
from engine.model.dagfile import parse_dag
from engine.store.database import Database
from engine.store.orgs import set_setting
from tests.support.worlds import DAILY, World, job, source

BEFORE, KEPT = "2013-01-05", "2013-02-13"
LESS = {"dt": DAILY["dt"] | {"start": "2013-02-01"}}
FINDS: dict[str, Any] = {"partitioning": {"k": {"dynamic": True}}, "execution_strategy": "Full"}


def _origins(*keys: str) -> dict[str, Any]:
    return {"origin": {"static": list(keys)}}


def _versioned(name: str, *inputs: Any, version: int, **more: Any) -> dict[str, Any]:
    return job(name, *inputs, config={"kwargs": {"version": version}}, **more)


async def _narrowed(world: World) -> None:
    await world.deploy(source("a", LESS), job("b", "a", partitioning=LESS))


async def test_remaining_partitions_are_kept_when_bounds_narrow(database: Database) -> None:
    world = await World.made(database, source("a"), job("b", "a"))
    await world.changed("a", BEFORE, KEPT)
    await world.run()
    await _narrowed(world)
    assert await world.run() == []


async def test_invalidations_of_remaining_partitions_are_planned(database: Database) -> None:
    world = await World.made(database, source("a"), job("b", "a"))
    await world.change("a", f"{BEFORE}..{KEPT}")
    await _narrowed(world)
    await world.plan()
    made = await world.run()
    assert (made[0], made[-1], len(made)) == ("b[2013-02-01]", f"b[{KEPT}]", 13)


async def test_invalidations_of_removed_partitions_are_not_current(database: Database) -> None:
    world = await World.made(database, source("a"), job("b", "a"))
    await world.change("a", BEFORE)
    await _narrowed(world)
    await world.plan()
    assert await world.run() == []
    outcomes = await world.rows("SELECT outcome FROM data_invalidations WHERE reason = 'change'")
    assert [row["outcome"] for row in outcomes] == ["not_current"]


async def test_reordered_static_keys_are_the_same_keys(database: Database) -> None:
    before, after = _origins("EWR", "JFK", "LGA"), _origins("LGA", "EWR", "JFK")
    world = await World.made(database, source("a", before), job("b", "a", partitioning=before))
    await world.changed("a", "JFK")
    await world.run()
    await world.change("a", "EWR..JFK")
    await world.deploy(source("a", after), job("b", "a", partitioning=after))
    await world.plan()
    assert {"b[EWR]", "b[JFK]"} <= {*await world.run()}


async def grown(world: World, *jobs: dict[str, Any]) -> dict[str, tuple[str, ...]]:
    """Deploy, and return the extensions of bounds by source; a dry run must show the same."""
    text = json.dumps({"dag": "w", "jobs": list(jobs)})
    async with world.conn() as conn:
        shown = await preview(conn, world.org, [parse_dag(text, where="w.yaml")])
    done = await world.deploy(*jobs)
    assert shown.dags[0].grown == done.dags[0].grown
    return dict(done.dags[0].grown)


async def test_wider_bounds_are_reported(database: Database) -> None:
    world = await World.made(
        database, source("a", LESS), source("o", _origins("EWR", "JFK")), source("c")
    )
    longer = {"dt": DAILY["dt"] | {"start": "2013-01-31", "end": "2014-01-03"}}
    found = await grown(world, source("a", longer), source("o", _origins("JFK", "LGA")))
    assert found == {"a": ("2013-01-31", "2014-01-01..2014-01-02"), "o": ("LGA",)}


async def test_removed_or_narrower_bounds_and_other_grids_are_not_growth(
    database: Database,
) -> None:
    world = await World.made(database, source("a"), source("b"), source("c"))
    endless = {"dt": {"time": "day", "start": "2013-01-01"}}
    weekly = {"dt": {"time": "week", "start": "2013-W01", "end": "2015-W01"}}
    found = await grown(world, source("a", LESS), source("b", weekly), source("c", endless))
    assert found == {"c": ("2014-01-01..",)}


@pytest.mark.parametrize("grid", [DAILY, {}])
@pytest.mark.parametrize("strategy", ["PerPartition", "Full"])
async def test_a_deploy_rebuilds_partitions_that_no_event_has_named(
    database: Database, grid: dict[str, Any], strategy: str
) -> None:
    key = KEPT if grid else "*"
    small = {"dt": grid["dt"] | {"start": KEPT, "end": "2013-02-15"}} if grid else {}

    def jobs(version: int) -> list[dict[str, Any]]:
        more = {"partitioning": small, "execution_strategy": strategy}
        changed = _versioned("b", "a", version=version, **more)
        return [source("a", grid), changed, job("c", "b", partitioning=small)]

    world = await World.made(database, *jobs(1))
    await world.deploy(job("d", "c", partitioning=small), dag="other")
    await world.changed("b", key, reason="manual")
    built = sorted(await world.run())
    assert {f"c[{key}]", f"d[{key}]"} < {*built}
    await world.deploy(*jobs(2))
    assert sorted(await world.run()) == built


async def test_partitions_of_tasks_canceled_by_a_deploy_are_planned_again(
    database: Database,
) -> None:
    world = await World.made(database, source("a"), _versioned("b", "a", version=1))
    await world.changed("b", KEPT, reason="manual")
    await world.deploy(source("a"), _versioned("b", "a", version=2))
    await world.deploy(source("a"), _versioned("b", "a", version=3))
    assert await world.run() == [f"b[{KEPT}]"]


async def test_a_partition_left_stale_by_a_decision_is_planned_by_a_deploy(
    database: Database,
) -> None:
    world = await World.made(database, source("a"), _versioned("b", "a", version=1))
    await world.changed("b", KEPT, reason="manual")
    async with world.conn() as conn:
        task = await world.task(f"b[{KEPT}]", "queued")
        await cancel(conn, world.org, task["id"], by="ada")
    await world.deploy(source("a"), _versioned("b", "a", version=2))
    assert await world.run() == [f"b[{KEPT}]"]


async def test_a_job_that_found_no_partitions_runs_again_for_a_new_definition(
    database: Database,
) -> None:
    world = await World.made(database, source("a", {}), _versioned("b", "a", version=1, **FINDS))
    await world.changed("b", "K", reason="manual")
    (lease,) = await world.claim()
    await world.complete(lease)
    await world.deploy(source("a", {}), _versioned("b", "a", version=2, **FINDS))
    (lease,) = await world.claim()
    assert lease.job.name == "b"


async def test_partitions_out_of_reach_are_not_rebuilt(database: Database) -> None:
    world = await World.made(
        database, source("a"), _versioned("b", "a", version=1), _versioned("c", "b", version=1)
    )
    await world.changed("b", BEFORE, KEPT, reason="manual")
    assert len(await world.run()) == 4
    narrow = _versioned("b", "a", version=1, partitioning=LESS)
    await world.deploy(source("a"), narrow, _versioned("c", "b", version=2))
    assert sorted(await world.run()) == [f"c[{KEPT}]"]


async def test_a_deploy_over_a_source_without_events_builds_nothing_new(
    database: Database,
) -> None:
    world = await World.made(database, source("a"), _versioned("b", "a", version=1))
    await world.deploy(source("a"), _versioned("b", "a", version=2))
    assert await world.run() == []


def _moved(grid: dict[str, Any], **storage: str) -> dict[str, Any]:
    moved = source("a", grid)
    moved["outputs"][0]["storage"] = storage or {"table": "elsewhere"}
    return moved


async def _built_in_another_dag(
    database: Database, grid: dict[str, Any], *days: str, strategy: str = "PerPartition"
) -> tuple[World, list[str]]:
    """A reader in another DAG, some partitions of which were built without events."""
    world = await World.made(database, source("a", grid), dag="one")
    reader = job("b", "a", partitioning=grid, execution_strategy=strategy)
    unbuilt = job("c", "a", partitioning=grid)
    await world.deploy(reader, unbuilt, dag="two")
    await world.changed("b", *days, reason="manual")
    return world, await world.run()


@pytest.mark.parametrize("strategy", ["PerPartition", "Full"])
@pytest.mark.parametrize("day", [KEPT, "*"])
async def test_readers_of_a_moved_source_without_events_are_rebuilt(
    database: Database, day: str, strategy: str
) -> None:
    grid = {} if day == "*" else DAILY
    world, built = await _built_in_another_dag(database, grid, day, strategy=strategy)
    assert len(built) == 1
    await world.deploy(_moved(grid), dag="one")
    await world.plan()
    assert await world.run() == built


@pytest.mark.parametrize("has_events", [False, True])
async def test_manual_readers_are_not_run_after_a_source_moves(
    database: Database, has_events: bool
) -> None:
    world = await World.made(database, source("a"), dag="one")
    await world.deploy(job("b", "a", activation="manual"), dag="two")
    if has_events:
        await world.changed("a", KEPT)
    await world.changed("b", KEPT, reason="manual")
    assert await world.run() == [f"b[{KEPT}]"]
    moved = source("a", DAILY)
    moved["outputs"][0]["storage"] = {"table": "elsewhere"}
    await world.deploy(moved, dag="one")
    await world.plan()
    assert await world.run() == []


async def test_manual_readers_are_not_run_after_an_input_gets_a_new_version(
    database: Database,
) -> None:
    world = await World.made(database, source("a"), job("b", "a"), dag="one")
    await world.deploy(job("c", "b", activation="manual"), dag="two")
    await world.changed("a", KEPT)
    assert await world.run() == [f"b[{KEPT}]"]
    await world.changed("c", KEPT, reason="manual")
    assert await world.run() == [f"c[{KEPT}]"]
    await world.deploy(source("a"), _versioned("b", "a", version=2), dag="one")
    await world.plan()
    assert await world.run() == [f"b[{KEPT}]"]


async def test_readers_of_a_manual_job_that_never_ran_are_not_built(database: Database) -> None:
    manual = job("b", "a", activation="manual")
    world = await World.made(database, source("a"), manual, job("c", "b"))
    await world.changed("a", KEPT)
    assert await world.run() == []
    await world.deploy(source("a"), manual, _versioned("c", "b", version=2))
    assert await world.run() == []
    await world.changed("b", reason="manual")
    assert await world.run() == [f"b[{KEPT}]", f"c[{KEPT}]"]


async def test_readers_of_partitions_not_named_are_rebuilt_after_a_source_moves(
    database: Database,
) -> None:
    world, built = await _built_in_another_dag(database, DAILY, BEFORE, KEPT)
    await world.changed("a", KEPT)
    assert sorted(await world.run()) == [f"b[{KEPT}]", f"c[{KEPT}]"]
    await world.deploy(_moved(DAILY), dag="one")
    assert sorted(await world.run()) == [*built, f"c[{KEPT}]"]


@pytest.mark.parametrize("reads", ["x", "y"])
async def test_readers_of_other_columns_of_a_source_without_events_are_not_rebuilt(
    database: Database, reads: str
) -> None:
    wide, narrow = source("a"), source("a")
    wide["outputs"][0]["columns"], narrow["outputs"][0]["columns"] = ["x", "y"], ["x"]
    world = await World.made(database, wide, dag="one")
    await world.deploy(job("b", "a", columns={reads: [f"a.{reads}"]}), dag="two")
    await world.changed("b", KEPT, reason="manual")
    built = await world.run()
    await world.deploy(narrow, dag="one")
    assert await world.run() == (built if reads == "y" else [])


@pytest.mark.parametrize(("path", "cursors"), [("old", ["100"]), ("new", [])])
async def test_cursors_are_kept_only_if_the_storage_is_the_same(
    database: Database, path: str, cursors: list[str]
) -> None:
    follows = {"dataset": "a", "cursor": {"column": "id", "type": "integer"}}
    appends = {"update_strategy": "append", "unique_key": ["id"], "partitioning": {}}
    world = await World.made(database, _moved({}, path="old"), dag="one")
    log = job("log", follows, execution_strategy="PerUpdate", columns={"id": ["a.id"]}, **appends)
    await world.deploy(log, dag="two")
    await world.changed("a", reason="arrival")
    (lease,) = await world.claim()
    await world.finish(lease, cursors={lease.job.inputs[0].dataset: "100"})
    described = _moved({}, path=path)
    described["outputs"][0]["columns"] = ["id"]
    await world.deploy(described, dag="one")
    await world.changed("a", reason="arrival")
    (lease,) = await world.claim()
    assert list(lease.cursors.values()) == cursors


@pytest.mark.parametrize("is_pending", [False, True])
async def test_a_request_open_during_a_deploy_is_planned(
    database: Database, is_pending: bool
) -> None:
    world = await World.made(database, source("a"), _versioned("b", "a", version=1))
    await world.change("b", KEPT, reason="manual")
    plan = None
    if is_pending:
        await _limit(world, 0)
        plan = await world.plan()
        await _limit(world, None)
    await world.deploy(source("a"), _versioned("b", "a", version=2))
    if plan is not None and plan.plan_id is not None:
        assert await world.run() == []
        async with world.conn() as conn:
            await approve(conn, world.org, plan.plan_id)
    await world.plan()
    assert await world.run() == [f"b[{KEPT}]"]


async def test_a_request_for_a_reader_open_during_a_deploy_is_planned(database: Database) -> None:
    world = await World.made(database, source("a"), _versioned("b", "a", version=1), job("c", "b"))
    await world.change("c", KEPT, reason="manual")
    await world.deploy(source("a"), _versioned("b", "a", version=2), job("c", "b"))
    await world.plan()
    assert await world.run() == [f"c[{KEPT}]"]


async def test_a_request_for_a_partition_that_a_deploy_rebuilds_adds_no_run(
    database: Database,
) -> None:
    world = await World.made(database, source("a"), _versioned("b", "a", version=1))
    await world.changed("a", KEPT)
    await world.run()
    await world.change("b", KEPT, reason="manual")
    await world.deploy(source("a"), _versioned("b", "a", version=2))
    assert await world.run() == [f"b[{KEPT}]"]
    await world.plan()
    assert await world.run() == []


async def _limit(world: World, number: int | None) -> None:
    async with world.conn() as conn:
        await set_setting(conn, world.org.id, "blast_radius", number)
