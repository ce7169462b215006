"""Deploys with other bounds, key lists and key maps, which keep the partitions in both grids."""

from typing import Any
from uuid import UUID

import pytest
from psycopg.types.json import Jsonb

from engine.errors import InvalidDag, LeaseLost
from engine.flow.deployment.apply import apply
from engine.flow.deployment.propose import propose
from engine.flow.planning.audit import audit_all
from engine.model.event import SourceEvent
from engine.store.database import Database
from tests.support.worlds import World, job, source

FIRST, SECOND, THIRD = "2013-02-01", "2013-02-02", "2013-02-03"


def days(start: str, end: str) -> dict[str, Any]:
    return {"dt": {"time": "day", "start": start, "end": end}}


def origins(*keys: str) -> dict[str, Any]:
    return {"origin": {"static": list(keys)}}


SHORT, LONG = days(FIRST, "2013-02-04"), days("2013-01-30", "2014-02-04")


async def versions(world: World) -> dict[str, UUID]:
    rows = await world.rows("SELECT name, dataset_version FROM current_datasets")
    return {row["name"]: row["dataset_version"] for row in rows}


async def lost(world: World) -> int:
    async with world.conn() as conn:
        return (await audit_all(conn, world.org)).lost


def chain(grid: dict[str, Any], **more: Any) -> list[dict[str, Any]]:
    return [
        source("a", grid),
        job("b", "a", partitioning=grid, **more),
        job("c", "b", partitioning=grid),
    ]


async def test_longer_bounds_recompute_nothing(database: Database) -> None:
    world = await World.made(database, *chain(SHORT))
    await world.changed("a", FIRST, SECOND)
    await world.run()
    before = await versions(world)
    await world.deploy(*chain(LONG))
    assert await versions(world) == before
    assert await world.run() == []
    await world.changed("a", "2014-01-01", "2013-01-31")
    keys = "2013-01-31", "2014-01-01"
    assert sorted(await world.run()) == [f"{name}[{key}]" for name in "bc" for key in keys]
    assert await lost(world) == 0


async def test_entering_partitions_are_built_from_existing_inputs(database: Database) -> None:
    world = await World.made(database, source("a", LONG), *chain(SHORT)[1:])
    await world.changed("a", "2013-01-31", FIRST)
    assert await world.run() == [f"b[{FIRST}]", f"c[{FIRST}]"]
    done = await world.deploy(*chain(LONG))
    assert (done.tasks, done.dags[0].diff.regenerated) == (2, {})
    assert await world.run() == ["b[2013-01-31]", "c[2013-01-31]"]
    assert await lost(world) == 0


async def test_a_new_static_key_is_built_alone(database: Database) -> None:
    three = origins("EWR", "JFK", "LGA")
    world = await World.made(database, source("a", three), *chain(origins("EWR", "JFK"))[1:])
    await world.changed("a", "EWR", "JFK", "LGA")
    assert len(await world.run()) == 4
    await world.deploy(source("a", three), *chain(origins("LGA", "JFK", "EWR"))[1:])
    assert await world.run() == ["b[LGA]", "c[LGA]"]


async def test_another_order_of_keys_recomputes_nothing(database: Database) -> None:
    world = await World.made(database, *chain(origins("EWR", "JFK", "LGA")))
    await world.changed("a", "EWR", "JFK", "LGA")
    await world.run()
    await world.change("b", "EWR..JFK", reason="manual")
    await world.change("a", "EWR")
    await world.deploy(*chain(origins("JFK", "LGA", "EWR")))
    assert await world.run() == []
    await world.plan()
    keys = "EWR", "JFK"
    assert sorted(await world.run()) == [f"{name}[{key}]" for name in "bc" for key in keys]


async def test_ranges_of_keys_written_by_an_earlier_release_are_converted(
    database: Database,
) -> None:
    world = await World.made(database, *chain(origins("EWR", "JFK", "LGA")))
    await world.changed("a", "EWR", "JFK", "LGA")
    await world.run()
    await world.change("b", "JFK", reason="manual")
    await world.rows(
        "UPDATE data_invalidations SET partition_key = 'EWR..JFK' "
        "WHERE reason = 'manual' RETURNING 1"
    )
    await world.deploy(*chain(origins("EWR", "LGA", "JFK")))
    await world.plan()
    assert {"b[EWR]", "b[JFK]"} <= {*await world.run()}


def trailing(grid: dict[str, Any], **more: Any) -> list[dict[str, Any]]:
    read = {"dataset": "b", "mapping": {"dt": {"from": "dt", "window": [-1, 0]}}}
    return [
        source("a", grid),
        job("b", "a", partitioning=grid),
        job("w", read, partitioning=LONG, **more),
        job("t", {"dataset": "b", "mapping": "all"}, partitioning={}),
    ]


async def test_outputs_that_read_leaving_partitions_are_recomputed(database: Database) -> None:
    world = await World.made(database, *trailing(SHORT))
    await world.changed("a", FIRST, SECOND, THIRD)
    assert len(await world.run()) == 3 + 4 + 1
    done = await world.deploy(*trailing(days(SECOND, "2013-02-04")))
    assert done.dags[0].leaving == {"a": (FIRST,), "b": (FIRST,)}
    assert sorted(await world.run()) == ["t[*]", f"w[{FIRST}]", f"w[{SECOND}]"]
    assert await lost(world) == 0
    existing = (
        "SELECT partition_key FROM partition_versions "
        "JOIN current_datasets USING (dataset_uuid, dataset_version) WHERE name = 'b' ORDER BY 1"
    )
    assert [row["partition_key"] for row in await world.rows(existing)] == [SECOND, THIRD]


async def test_partitions_that_return_are_built_again(database: Database) -> None:
    world = await World.made(database, source("a", LONG), *trailing(SHORT)[1:])
    await world.changed("a", FIRST, SECOND, THIRD)
    await world.run()
    await world.deploy(source("a", LONG), *trailing(days(SECOND, "2013-02-04"))[1:])
    await world.run()
    done = await world.deploy(source("a", LONG), *trailing(SHORT)[1:])
    assert done.dags[0].entering == {"b": (FIRST,)}
    assert sorted(await world.run()) == [f"b[{FIRST}]", "t[*]", f"w[{FIRST}]", f"w[{SECOND}]"]
    assert await lost(world) == 0


async def test_a_total_is_computed_once_for_entering_partitions(database: Database) -> None:
    world = await World.made(database, source("a", LONG), *trailing(SHORT)[1:])
    await world.changed("a", "2013-01-31", FIRST, SECOND)
    await world.run()
    await world.deploy(source("a", LONG), *trailing(LONG)[1:])
    assert sorted(await world.run()) == ["b[2013-01-31]", "t[*]", "w[2013-01-31]", f"w[{FIRST}]"]


def latest(*keys: str) -> list[dict[str, Any]]:
    return [
        source("a", origins(*keys)),
        job("b", "a", partitioning=origins(*keys)),
        job("l", {"dataset": "b", "mapping": "last"}, partitioning={}),
    ]


async def test_a_reader_of_the_last_key_is_recomputed_only_if_that_is_another_one(
    database: Database,
) -> None:
    world = await World.made(database, *latest("EWR", "JFK", "LGA"))
    await world.changed("a", "EWR", "JFK")
    await world.run()
    await world.deploy(*latest("EWR", "LGA", "JFK"))
    assert await world.run() == []
    await world.deploy(*latest("LGA", "JFK", "EWR"))
    assert await world.run() == ["l[*]"]
    await world.deploy(*latest("LGA", "JFK"))
    assert await world.run() == ["l[*]"]
    assert await lost(world) == 0


async def test_a_reader_follows_a_key_that_becomes_the_last_one_before_it_is_built(
    database: Database,
) -> None:
    world = await World.made(database, *latest("LGA", "EWR", "JFK"))
    await world.changed("a", "JFK")
    await world.run()
    await world.changed("a", "LGA")
    await world.deploy(*latest("EWR", "JFK", "LGA"))
    assert await world.run() == ["b[LGA]", "l[*]"]
    assert await lost(world) == 0


def mapped(keys: list[str], regions: list[str], **mapping: list[str]) -> list[dict[str, Any]]:
    read = {"dataset": "a", "mapping": {"region": {"from": "origin", "map": mapping}}}
    region = {"region": {"static": regions}}
    return [source("a", origins(*keys)), job("r", read, partitioning=region)]


async def test_a_key_map_recomputes_only_the_keys_it_changes(database: Database) -> None:
    keys = ["EWR", "JFK", "BOS"]
    world = await World.made(database, *mapped(keys, ["NJ", "NY"], EWR=["NJ"], JFK=["NY"]))
    await world.changed("a", "EWR", "JFK", "BOS")
    assert sorted(await world.run()) == ["r[NJ]", "r[NY]"]
    three = ["NJ", "NY", "MA"]
    await world.deploy(*mapped(keys, three, EWR=["NJ"], JFK=["NY"], BOS=["MA"]))
    assert await world.run() == ["r[MA]"]
    await world.deploy(*mapped(keys, three, EWR=["NJ"], JFK=["NY"], BOS=["MA", "NY"]))
    assert await world.run() == ["r[NY]"]
    await world.deploy(*mapped(keys, three, EWR=["NJ"], JFK=["NY"], BOS=["MA"]))
    assert await world.run() == ["r[NY]"]
    more = [*keys, "ORD"]
    await world.deploy(*mapped(more, three, EWR=["NJ"], JFK=["NY"], BOS=["MA"], ORD=["NJ"]))
    assert await world.run() == []
    assert await lost(world) == 0


async def test_tasks_of_leaving_partitions_are_canceled(database: Database) -> None:
    world = await World.made(database, *chain(SHORT))
    await world.changed("a", FIRST, SECOND)
    (running,) = await world.claim(1)
    await world.deploy(*chain(days(THIRD, "2013-02-04")))
    assert (await world.tasks()).keys() == {"canceled"}
    with pytest.raises(LeaseLost):
        await world.finish(running)
    assert await world.run() == []
    assert await lost(world) == 0


@pytest.mark.parametrize("is_running", [False, True])
async def test_tasks_keep_their_other_partitions(database: Database, is_running: bool) -> None:
    scaling = {"scaling": {"partitions_per_task": 4}}
    world = await World.made(database, *chain(SHORT, **scaling))
    await world.changed("a", FIRST, SECOND)
    if is_running:
        await world.claim()
    await world.deploy(*chain(days(SECOND, "2013-02-04"), **scaling))
    (lease,) = await world.claim()
    assert lease.partitions == (SECOND,)
    await world.finish(lease)
    assert await world.run() == [f"c[{SECOND}]"]


async def test_an_invalidation_written_during_the_deploy_is_limited_to_the_bounds(
    database: Database,
) -> None:
    world = await World.made(database, *chain(SHORT))
    await world.changed("a", FIRST, SECOND, THIRD)
    await world.run()
    await world.deploy(*chain(days(SECOND, "2013-02-04")))
    await world.run()
    requests = [await world.change("b", SECOND, reason="manual") for _ in range(2)]
    for request, text in zip(requests, (f"{FIRST}..{SECOND}", FIRST), strict=True):
        (id_,) = request.invalidations
        await world.rows(
            "UPDATE data_invalidations SET partition_key = %s WHERE id = %s RETURNING id", text, id_
        )
    await world.plan()
    assert await world.run() == [f"b[{SECOND}]", f"c[{SECOND}]"]
    outcomes = await world.rows(
        "SELECT outcome FROM data_invalidations WHERE reason = 'manual' ORDER BY id"
    )
    assert [row["outcome"] for row in outcomes] == ["planned", "not_current"]


async def test_another_grid_is_another_definition(database: Database) -> None:
    world = await World.made(database, *chain(SHORT))
    await world.changed("a", FIRST)
    await world.run()
    zone = {"dt": SHORT["dt"] | {"zone": "Europe/Berlin"}}
    await world.deploy(source("a", SHORT), job("b", "a", partitioning=zone), chain(SHORT)[2])
    assert "b[2013-02-01]" in await world.run()


@pytest.mark.parametrize("start", [0, 5])
async def test_buckets_are_counted_from_zero_whatever_the_start(
    database: Database, start: int
) -> None:
    def ranges(first: int) -> dict[str, Any]:
        return {"n": {"range": 10, "start": first, "end": 40}}

    world = await World.made(database, *chain(ranges(10)))
    await world.changed("a", "10-19")
    await world.run()
    await world.deploy(*chain(ranges(start)))
    assert await world.run() == []
    await world.changed("a", "0-9")
    assert await world.run() == ["b[0-9]", "c[0-9]"]


async def test_a_single_run_builds_entering_partitions(database: Database) -> None:
    full = {"execution_strategy": "Full"}
    world = await World.made(database, source("a", LONG), *chain(SHORT, **full)[1:])
    await world.changed("a", "2013-01-31", FIRST)
    assert (await world.run())[0] == "b[*]"
    await world.deploy(source("a", LONG), *chain(days("2013-01-31", "2013-02-04"), **full)[1:])
    (lease,) = await world.claim()
    assert lease.partitions == ("2013-01-31", FIRST, SECOND, THIRD)
    await world.finish(lease, "same")
    await world.run()
    await world.deploy(source("a", LONG), *chain(days(FIRST, "2013-02-04"), **full)[1:])
    assert await world.run() == []
    assert await lost(world) == 0


async def test_readers_in_other_dags_keep_their_partitions(database: Database) -> None:
    world = await World.made(database, *chain(SHORT)[:2])
    await world.deploy(*trailing(LONG)[2:], dag="other")
    await world.changed("a", FIRST, THIRD)
    await world.run()
    await world.deploy(*chain(LONG)[:2])
    assert await world.run() == []
    await world.deploy(*chain(days(FIRST, THIRD))[:2])
    assert sorted(await world.run()) == ["t[*]", f"w[{THIRD}]", "w[2013-02-04]"]
    assert await lost(world) == 0


async def test_a_key_mapped_by_another_dag_cannot_be_removed(database: Database) -> None:
    jobs = mapped(["EWR", "JFK"], ["NY"], JFK=["NY"])
    world = await World.made(database, jobs[0])
    await world.deploy(jobs[1], dag="other")
    await world.deploy(source("a", origins("JFK", "BOS")))
    with pytest.raises(InvalidDag, match="'a' cannot lose partitions that job 'r' of DAG 'other'"):
        await world.deploy(source("a", origins("BOS")))


async def test_hashes_of_an_earlier_release_are_kept(database: Database) -> None:
    """Earlier releases hashed the bounds as well, so that none of their hashes is equal."""
    world = await World.made(database, *chain(SHORT))
    await world.changed("a", FIRST)
    await world.run()
    await _with_hashes_of_an_earlier_release(world)
    before = await versions(world)
    await world.deploy(*chain(LONG))
    assert await versions(world) == before
    assert await world.run() == []
    assert await lost(world) == 0
    await world.deploy(*chain(SHORT))
    assert await world.run() == []
    assert await lost(world) == 0


async def test_hashes_are_kept_over_a_rollback_to_a_version_of_an_earlier_release(
    database: Database,
) -> None:
    world = await World.made(database, *chain(SHORT))
    await world.changed("a", FIRST)
    await world.run()
    await _with_hashes_of_an_earlier_release(world)
    more = {"config": {"kwargs": {"more": 1}}}
    await world.deploy(*chain(SHORT, **more))
    assert len(await world.run()) == 2
    await world.deploy(*chain(LONG))
    assert len(await world.run()) == 2
    await world.deploy(*chain(SHORT))
    assert await world.run() == []
    assert await lost(world) == 0


async def _with_hashes_of_an_earlier_release(world: World) -> None:
    for table in ("jobs", "partition_versions", "dataset_versions"):
        hashed = f"UPDATE {table} SET config_hash = 'x' || config_hash RETURNING 1"
        await world.rows(hashed)
    rows = await world.rows("SELECT id, content FROM dag_versions")
    for row in rows:
        for each in (*row["content"]["jobs"], *row["content"]["datasets"]):
            each["config_hash"] = "x" + each["config_hash"]
        await world.rows(
            "UPDATE dag_versions SET content = %s WHERE id = %s RETURNING 1",
            Jsonb(row["content"]),
            row["id"],
        )


async def test_waiting_first_runs_are_judged_by_the_new_bounds(database: Database) -> None:
    def jobs(keys: dict[str, Any]) -> list[dict[str, Any]]:
        read = {"dataset": "b", "mapping": "all", "wait_for": "all"}
        return [
            source("a", keys),
            job("b", "a", partitioning=keys),
            job("t", read, partitioning={}),
        ]

    world = await World.made(database, *jobs(origins("EWR", "JFK", "LGA")))
    await world.changed("a", "EWR", "JFK")
    assert await world.run() == ["b[EWR]", "b[JFK]"]
    await world.deploy(*jobs(origins("EWR", "JFK")))
    assert await world.run() == ["t[*]"]


async def test_a_proposed_plan_of_all_partitions_is_outdated_by_other_bounds(
    database: Database,
) -> None:
    world = await World.made(database, *chain(origins("EWR", "JFK")))
    event = SourceEvent(dataset="a", partitions=("EWR", "JFK"))
    async with world.conn() as conn:
        proposal = await propose(conn, world.org, event)
    await world.deploy(*chain(origins("JFK", "EWR", "LGA")))
    async with world.conn() as conn:
        applied = await apply(conn, world.org, proposal.plan_id)
    assert {change.job for change in applied.changes} == {"b", "c"}
