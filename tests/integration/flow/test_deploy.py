"""Deploys: DAG versions, dataset versions, and the handling of pending work."""

import json
from typing import Any
from uuid import UUID

import pytest

from engine.errors import InvalidDag, LeaseLost
from engine.flow.deployment import dataset_versions
from engine.flow.deployment.deploy import deploy
from engine.flow.execution.fail import fail
from engine.flow.planning.approve import approve
from engine.flow.shared.org_context import OrgContext
from engine.model.dagfile import parse_dag
from engine.model.task import Output
from engine.store.database import Database
from tests.support.worlds import DAILY, World, job, source

DAY = "2013-02-13"
FINDS: dict[str, Any] = {"partitioning": {"k": {"dynamic": True}}, "execution_strategy": "Full"}
"""Settings of a job with discovered partitions."""


async def test_deploying_the_same_content_changes_nothing(database: Database) -> None:
    jobs = [source("a"), job("b", "a")]
    world = await World.made(database, *jobs)
    before = await world.rows("SELECT * FROM dag_current_versions, orgs")
    await world.deploy(*jobs)
    assert await world.rows("SELECT * FROM dag_current_versions, orgs") == before
    assert await world.rows("SELECT count(*) AS n FROM dag_versions") == [{"n": 1}]


async def test_a_changed_job_is_rebuilt_with_its_readers(database: Database) -> None:
    world = await World.made(database, source("a"), job("b", "a"), job("c", "b"), job("d", "a"))
    await world.changed("a", "2013-02-13..2013-02-14")
    await world.run()
    versions = await _versions(world)
    changed = job("b", "a", config={"kwargs": {"more": 1}})
    await world.deploy(source("a"), changed, job("c", "b"), job("d", "a"))
    after = await _versions(world)
    assert {name for name in after if after[name] != versions[name]} == {"b", "c"}
    assert sorted(await world.run()) == [
        f"{name}[2013-02-{day}]" for name in "bc" for day in (13, 14)
    ]


async def test_scaling_is_not_part_of_the_definition(database: Database) -> None:
    world = await World.made(database, source("a"), job("b", "a"))
    await world.changed("a", DAY)
    await world.run()
    versions = await _versions(world)
    await world.deploy(source("a"), job("b", "a", scaling={"priority": 3}))
    assert await _versions(world) == versions
    assert await world.run() == []


async def test_tasks_of_an_unchanged_job_continue(database: Database) -> None:
    world = await World.made(database, source("a"), job("b", "a"))
    await world.changed("a", "2013-02-13..2013-02-14")
    (running,) = await world.claim(1)
    await world.deploy(source("a"), job("b", "a"), job("new", "a", config={"x": 1}))
    await world.finish(running)
    assert sorted(await world.run()) == ["b[2013-02-14]", "new[2013-02-13]", "new[2013-02-14]"]


async def test_tasks_of_a_changed_job_are_canceled(database: Database) -> None:
    world = await World.made(database, source("a"), job("b", "a"))
    await world.changed("a", DAY)
    (running,) = await world.claim()
    await world.deploy(source("a"), job("b", "a", config={"kwargs": {"more": 1}}))
    with pytest.raises(LeaseLost):
        await world.finish(running)
    assert await world.run() == [f"b[{DAY}]"]


async def test_an_old_definition_can_be_deployed_again(database: Database) -> None:
    one, two = job("b", "a"), job("b", "a", config={"kwargs": {"more": 1}})
    world = await World.made(database, source("a"), one)
    await world.changed("a", DAY)
    await world.run()
    await world.deploy(source("a"), two)
    await world.run()
    await world.deploy(source("a"), one)
    assert await world.run() == [f"b[{DAY}]"]
    assert await world.rows("SELECT count(*) AS n FROM dag_versions") == [{"n": 2}]


async def test_a_dataset_of_another_dag_can_be_an_input(database: Database) -> None:
    world = await World.made(database, source("a"), job("b", "a"))
    await world.deploy(job("c", "b"), dag="other")
    await world.changed("a", DAY)
    assert await world.run() == [f"b[{DAY}]", f"c[{DAY}]"]
    with pytest.raises(InvalidDag, match=r"jobs of other DAGs read it: other\.c;"):
        await world.deploy(source("a"))


async def test_readers_in_another_dag_are_rebuilt_after_a_source_moves_to_another_table(
    database: Database,
) -> None:
    world = await World.made(database, _source_of("dt", "x"), job("mine", "a"))
    await world.deploy(job("theirs", "a"), job("last", "theirs"), dag="other")
    await world.changed("a", DAY)
    await world.run()
    moved = _source_of("dt", "x")
    moved["outputs"][0]["storage"] = {"table": "elsewhere"}
    await world.deploy(moved, job("mine", "a"))
    assert sorted(await world.run()) == [f"{each}[{DAY}]" for each in ("last", "mine", "theirs")]


async def test_readers_in_another_dag_are_rebuilt_if_their_columns_were_removed(
    database: Database,
) -> None:
    world = await World.made(database, _source_of("dt", "x", "y"))
    reads_x, reads_y = (job(f"of_{c}", "a", columns={c: [f"a.{c}"]}) for c in "xy")
    await world.deploy(reads_x, reads_y, job("whole", "a"), dag="other")
    await world.changed("a", DAY)
    await world.run()
    await world.deploy(_source_of("dt", "x"))
    assert sorted(await world.run()) == [f"of_y[{DAY}]", f"whole[{DAY}]"]


async def test_readers_in_another_dag_are_rebuilt_after_a_version_without_partitions(
    database: Database,
) -> None:
    world = await World.made(database, source("a", {}), job("b", "a", **FINDS))
    await world.deploy(job("c", "b", partitioning={}), dag="other")
    await world.changed("a")
    (lease,) = await world.claim()
    await world.complete(lease, Output("b", "K"))
    await world.plan()
    assert await world.run() == ["c[*]"]
    await world.deploy(source("a", {}), job("b", "a", config={"kwargs": {"n": 1}}, **FINDS))
    (lease,) = await world.claim()
    await world.complete(lease)
    assert await world.run() == ["c[*]"]


async def test_concurrent_deploys_are_serialized(database: Database) -> None:
    import asyncio

    world = await World.made(database, source("a"), job("b", "a"))
    other = World(database, world.org)
    await asyncio.gather(
        world.deploy(source("a"), job("b", "a"), job("x", "b")),
        other.deploy(source("a"), job("b", "a"), job("y", "b")),
    )
    assert len(await world.rows("SELECT id FROM dag_versions")) == 3
    (row,) = await world.rows("SELECT lineage_epoch FROM orgs")
    assert row["lineage_epoch"] == 3


async def test_a_new_wait_for_blocks_queued_tasks(
    database: Database,
) -> None:
    late = {"dataset": "late", "wait_for": "all"}
    jobs = [source("a"), source("late")]
    world = await World.made(database, *jobs, job("b", "a", late))
    await world.changed("a", DAY)
    await world.deploy(*jobs, job("b", "a", "late"))
    assert (await world.tasks("b"))["queued"] == [f"b[{DAY}]"]
    await world.deploy(*jobs, job("b", "a", late))
    assert await world.run() == []
    await world.changed("late", DAY)
    assert await world.run() == [f"b[{DAY}]"]


async def test_a_deploy_builds_a_job_that_reads_the_last_partition(
    database: Database,
) -> None:
    last = {"dataset": "a", "mapping": "last"}
    world = await World.made(database, source("a"), job("b", last, partitioning={}))
    await world.changed("a", DAY)
    changed = job("b", last, partitioning={}, config={"kwargs": {"x": 1}})
    await world.deploy(source("a"), changed)
    assert (await world.tasks("b"))["queued"] == ["b[*]"]


async def test_a_rolled_back_deploy_leaves_no_cached_lineage(database: Database) -> None:
    world = await World.made(database, source("a"))
    async with world.conn() as conn, conn.transaction(force_rollback=True):
        text = json.dumps({"dag": "w", "jobs": [source("a"), job("c", "a")]})
        await deploy(conn, world.org, [parse_dag(text, where="w.yaml")])
        await world.org.lineage(conn)
    await World(database, OrgContext(world.org.id)).deploy(source("a"), job("d", "a"))
    await world.changed("a", "2013-02-13")
    assert await world.run() == ["d[2013-02-13]"]


async def test_tasks_do_not_wait_for_a_removed_job(database: Database) -> None:
    world = await World.made(database, source("a"), source("z"), job("b", "a"), job("c", "b", "z"))
    await world.changed("a", DAY)
    await world.changed("z", DAY)
    await world.deploy(source("a"), source("z"), job("b", "a"), job("c", "z"))
    assert sorted(await world.run()) == [f"b[{DAY}]", f"c[{DAY}]"]


async def _versions(world: World) -> dict[str, str]:
    rows = await world.rows("SELECT name, dataset_version FROM current_datasets")
    return {row["name"]: row["dataset_version"] for row in rows}


async def test_a_changed_block_size_recreates_tasks(database: Database) -> None:
    world = await World.made(database, source("a"), job("b", "a"), job("c", "b"))
    await world.changed("a", "2013-02-14..2013-02-15")
    (running,) = await world.claim(1)
    blocks = job("b", "a", scaling={"partitions_per_task": 2})
    await world.deploy(source("a"), blocks, job("c", "b"))
    with pytest.raises(LeaseLost):
        await world.finish(running)
    assert await world.run() == ["b[2013-02-14]", "c[2013-02-14]", "c[2013-02-15]"]


async def test_readers_in_another_dag_wait_for_a_dataset_rebuilt_by_a_deploy(
    database: Database,
) -> None:
    """Even without a plan for the readers, because the new partitions are unpredictable."""
    waits = {"dataset": "b", "wait_for": "all"}
    world = await World.made(database, source("a", {}), job("b", "a", **FINDS))
    await world.deploy(job("c", waits, partitioning={}), dag="other")
    await world.changed("a")
    (lease,) = await world.claim()
    await world.complete(lease, Output("b", "K"))
    await world.plan()
    assert await world.tasks("c") == {"queued": ["c[*]"]}
    await world.deploy(source("a", {}), job("b", "a", config={"kwargs": {"n": 1}}, **FINDS))
    assert await world.tasks("c") == {"blocked": ["c[*]"]}


async def test_a_relaxed_wait_for_unblocks_first_runs(database: Database) -> None:
    whole = {"dataset": "a", "wait_for": "all", "mapping": "all"}
    waiting = job("b", whole, partitioning={})
    world = await World.made(database, source("a"), waiting)
    await world.changed("a", DAY)
    assert await world.run() == []
    await world.deploy(source("a"), job("b", whole | {"wait_for": "any"}, partitioning={}))
    assert await world.run() == ["b[*]"]


async def test_a_first_run_without_triggers_is_held_until_a_deploy_relaxes_wait_for(
    database: Database,
) -> None:
    """The run of its other input changes nothing, but no later plan would consider it again."""
    late = {"dataset": "late", "wait_for": "all", "mapping": "all"}
    sources, m = (source("a"), source("late", {})), job("m", "a")
    world = await World.made(database, *sources, m, job("b", "m", late))
    await world.changed("a", DAY)
    assert await world.run(["m"]) == [f"m[{DAY}]"]
    await world.rows("DELETE FROM tasks WHERE status = 'blocked' RETURNING id")
    await world.changed("a", DAY)
    assert await world.run(["m"]) == [f"m[{DAY}]"]
    assert (await world.task(f"b[{DAY}]", "blocked"))["waiting_for"] == {"late": ["*"]}
    await world.deploy(*sources, m, job("b", "m", late | {"wait_for": "any"}))
    assert await world.run() == [f"b[{DAY}]"]


async def test_waiting_for_is_cleared_when_a_deploy_drops_wait_for(database: Database) -> None:
    whole = {"dataset": "m", "wait_for": "all", "mapping": "all"}
    m, waiting = job("m", "a", max_attempts=1), job("b", whole, partitioning={})
    world = await World.made(database, source("a"), m, waiting)
    await world.changed("a", DAY)
    assert await world.run() == [f"m[{DAY}]"]
    await world.changed("a", DAY)
    await world.deploy(source("a"), m, job("b", whole | {"wait_for": "any"}, partitioning={}))
    (lease,) = await world.claim()
    async with world.conn() as conn:
        await fail(conn, world.org, lease, "it broke", retryable=False)
    assert (await world.task("b[*]", "blocked"))["waiting_for"] is None


async def test_queued_tasks_move_to_the_new_runtime_of_their_job(database: Database) -> None:
    world = await World.made(database, source("a"), job("b", "a", runtime="external"))
    await world.changed("a", DAY)
    assert await world.claim() == []
    await world.deploy(source("a"), job("b", "a", scaling={"priority": 4}))
    (lease,) = await world.claim()
    assert lease.job.priority == 4


async def test_unplanned_invalidations_of_a_source_carry_over_to_its_next_version(
    database: Database,
) -> None:
    world = await World.made(database, _source_of("dt", "x"), job("b", "a"))
    await world.changed("a", DAY)
    await world.run()
    await world.change("a", DAY, "2013-02-14")
    await world.deploy(_source_of("dt", "x", "y"), job("b", "a"))
    await world.plan()
    assert sorted(await world.run()) == [f"b[{DAY}]", "b[2013-02-14]"]


async def test_partitions_and_invalidations_carry_over_to_wider_bounds(database: Database) -> None:
    longer = {"dt": {"time": "day", "start": "2013-01-01", "end": "2015-01-01"}}
    world = await World.made(database, source("a"), job("b", "a"))
    await world.changed("a", DAY)
    await world.run()
    await world.change("a", "2013-02-14")
    await world.deploy(source("a", longer), job("b", "a", partitioning=longer))
    await world.plan()
    await world.changed("a", "2014-02-13")
    days = "2013-02-14", "2014-02-13"
    assert sorted(await world.run()) == [f"b[{day}]" for day in days]


async def test_known_partitions_of_a_source_carry_over_when_it_is_added_again(
    database: Database,
) -> None:
    world = await World.made(database, source("a"), source("z"), job("b", "a"))
    await world.changed("a", DAY)
    await world.run()
    await world.deploy(source("z"))
    await world.deploy(source("a"), source("z"), job("b", "a"))
    assert await world.run() == [f"b[{DAY}]"]


async def test_a_source_inherits_from_its_newest_version_though_a_host_clock_was_behind(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    def until(end: str) -> dict[str, Any]:
        return {"dt": {"time": "day", "start": "2013-02-01", "end": end}}

    world = await World.made(database, source("a", until("2013-03-01")))
    ids = iter(range(1, 100))
    monkeypatch.setattr(dataset_versions, "new_id", lambda: UUID(int=next(ids)))
    await world.deploy(source("a", until("2013-04-01")))
    monkeypatch.undo()
    await world.changed("a", DAY)
    await world.deploy(source("a", until("2013-05-01")))
    existing = await world.rows(
        "SELECT p.partition_key FROM partition_versions p JOIN dag_version_datasets d"
        " USING (dataset_uuid, dataset_version) JOIN dag_current_versions USING (dag_version_id)"
    )
    assert existing == [{"partition_key": DAY}]


async def test_cursors_on_a_source_carry_over_to_its_next_version(database: Database) -> None:
    follows = {"dataset": "a", "cursor": {"column": "id", "type": "integer"}}
    whole = {"partitioning": {}, "columns": {"id": ["a.id"]}}
    appends = {"update_strategy": "append", "unique_key": ["id"]}
    log = job("log", follows, execution_strategy="PerUpdate", **whole, **appends)
    world = await World.made(database, _source_of("id", partitioning={}), log)
    await _follow(world, "100")
    await world.deploy(_source_of("id", "more", partitioning={}), log)
    await world.changed("a", reason="arrival")
    (lease,) = await world.claim()
    assert list(lease.cursors.values()) == ["100"]


@pytest.mark.parametrize("more", [{"name": "other"}, {"description": "more"}, {}])
async def test_readers_of_an_unchanged_output_of_a_changed_source_are_not_rebuilt(
    database: Database, more: dict[str, str]
) -> None:
    world = await World.made(database, source("a"), job("b", "a"))
    await world.changed("a", DAY)
    await world.run()
    before = await _versions(world)
    other = source("a") | more
    other["outputs"] += [{"dataset": "a2", "partitioning": DAILY}]
    await world.deploy(other, job("b", "a"))
    assert await world.run() == []
    assert (await _versions(world)).items() >= before.items()


async def test_invalidations_of_a_pending_plan_carry_over_to_the_next_version(
    database: Database,
) -> None:
    b = job("b", "a", columns={"x": ["a.x"]}, scaling={"blast_radius": 1})
    world = await World.made(database, _source_of("dt", "x"), b)
    for day in DAY, "2013-02-14":
        await world.changed("a", day)
    await world.run()
    await world.change("a", DAY, "2013-02-14")
    planned = await world.plan()
    assert planned
    await world.deploy(_source_of("dt", "x", "y"), b)
    async with world.conn() as conn:
        await approve(conn, world.org, planned.plan_id)
    assert sorted(await world.run()) == [f"b[{DAY}]", "b[2013-02-14]"]


async def test_a_redeployed_version_starts_without_its_old_cursors(database: Database) -> None:
    def jobs(which: str, text: str) -> list[dict[str, Any]]:
        follows = {"dataset": "a", "cursor": {"column": "id", "type": "integer"}}
        whole = {"partitioning": {}, "config": {"w": which}, "description": text}
        appends = {"update_strategy": "append", "unique_key": ["id"]}
        log = job("log", follows, execution_strategy="PerUpdate", **whole, **appends)
        return [source("a", {}), log]

    world = await World.made(database, *jobs("B", "one"))
    await _follow(world, "5")
    for which, text in ("B", "two"), ("A", "two"), ("B", "one"):
        await world.deploy(*jobs(which, text))
    await _follow(world, "7")
    await world.deploy(*jobs("B", "two"))
    cursors = await world.rows("SELECT cursor_value FROM dataset_cursors")
    assert "7" in {row["cursor_value"] for row in cursors}


async def _follow(world: World, cursor: str) -> None:
    await world.changed("a", reason="arrival")
    while leases := await world.claim():
        for lease in leases:
            await world.finish(lease, cursors={lease.job.inputs[0].dataset: cursor})


def _source_of(*columns: str, partitioning: dict[str, Any] | None = None) -> dict[str, Any]:
    made = source("a", partitioning)
    made["outputs"][0]["columns"] = list(columns)
    return made
