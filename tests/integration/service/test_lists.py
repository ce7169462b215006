"""Lists of tasks and invalidations, and ids given by their endings."""

from collections import Counter
from functools import partial
from uuid import uuid4

import pytest

from engine.errors import InvalidInput, InvalidPartition, UnknownName
from engine.service.commands.tasks import retry_all
from engine.service.ids import task_id
from engine.service.queries.datasets import datasets
from engine.service.queries.invalidations import invalidations
from engine.service.queries.jobs import jobs
from engine.service.queries.lineage import LineageNode, lineage_tree
from engine.service.queries.tasks import tasks
from engine.store.compatibility import missing_migrations
from engine.store.database import Database
from tests.support.worlds import World, job, source

DAY, OTHER = "2013-02-13", "2013-02-14"


async def test_tasks_are_filtered_and_listed_newest_first(database: Database) -> None:
    world = await World.made(database, source("a"), job("b", "a"), job("c", "b"))
    await world.changed("a", DAY, OTHER)
    await world.finish((await world.claim(limit=1))[0])
    everything = await tasks(world.caller, world.service)
    done = await tasks(world.caller, world.service, statuses=["succeeded"])
    of_c = await tasks(world.caller, world.service, job="c", partition=OTHER)
    one = await tasks(world.caller, world.service, limit=1)
    assert [each.id for each in everything] == sorted((t.id for t in everything), reverse=True)
    assert [(each.job, each.block_key, each.note) for each in done] == [("b", DAY, "changed")]
    assert [(each.job, each.block_key) for each in of_c] == [("c", OTHER)]
    assert one == everything[:1]


async def test_an_unknown_filter_is_rejected(database: Database) -> None:
    world = await World.made(database, source("alpha"), job("beta", "alpha"))
    assert await tasks(world.caller, world.service, job="beta") == []
    assert await invalidations(world.caller, world.service, dataset="alpha") == []
    for listed in (
        tasks(world.caller, world.service, job="betta"),
        retry_all(world.caller, world.service, job="betta"),
    ):
        with pytest.raises(UnknownName, match=r"no job 'betta'; did you mean 'beta'\?"):
            await listed
    with pytest.raises(UnknownName, match="no dataset 'betta'"):
        await invalidations(world.caller, world.service, dataset="betta")
    for listing in (jobs, datasets):
        assert await listing(world.caller, world.service, "w") != []
        with pytest.raises(UnknownName, match=r"no DAG 'beta' deployed .*'knockon status'"):
            await listing(world.caller, world.service, "beta")


async def test_an_impossible_partition_is_rejected(database: Database) -> None:
    world = await World.made(database, source("a"), job("b", "a"), job("c", "b"))
    listed = partial(tasks, world.caller, world.service)
    for possible in (DAY, "*"):
        assert await listed(partition=possible) == await listed(job="b", partition=possible) == []
    for impossible in ("yesterday", f"{DAY}..{OTHER}"):
        with pytest.raises(InvalidPartition, match=f"no job has a partition '{impossible}'"):
            await listed(partition=impossible)
    with pytest.raises(InvalidPartition, match="'yesterday'"):
        await listed(job="b", partition="yesterday")
    with pytest.raises(InvalidPartition, match="is not one partition of 'b': give one key"):
        await listed(job="b", partition=f"{DAY}..{OTHER}")


async def test_tasks_of_a_removed_job_are_listed(database: Database) -> None:
    world = await World.made(database, source("a"), job("b", "a"))
    await world.changed("a", DAY)
    await world.run()
    await world.deploy(source("a"))
    assert [each.job for each in await tasks(world.caller, world.service, job="b")] == ["b"]
    assert len(await invalidations(world.caller, world.service, dataset="a")) == 1


async def test_a_task_is_found_by_the_ending_of_its_id(database: Database) -> None:
    world = await World.made(database, source("a"), job("b", "a"))
    await world.changed("a", DAY)
    whole = (await world.task(f"b[{DAY}]", "queued"))["id"]
    async with world.conn() as conn:
        assert await task_id(conn, world.org, str(whole)) == whole
        assert await task_id(conn, world.org, str(whole)[-8:].upper()) == whole


@pytest.mark.parametrize("text", ["", "%", "xyz", "'; DROP TABLE tasks"])
async def test_an_invalid_id_is_rejected(database: Database, text: str) -> None:
    world = await World.made(database, source("a"), job("b", "a"))
    async with world.conn() as conn:
        with pytest.raises(InvalidInput, match="not the id of a task"):
            await task_id(conn, world.org, text)


async def test_unknown_and_ambiguous_ids_are_rejected(database: Database) -> None:
    world = await World.made(database, source("a"), job("b", "a"))
    await world.changed("a", "2013-01-01..2013-12-31")
    async with world.conn() as conn:
        ends = Counter(
            str(each.id)[-1] for each in await tasks(world.caller, world.service, limit=1000)
        )
        ((digit, _),) = ends.most_common(1)
        with pytest.raises(UnknownName):
            await task_id(conn, world.org, str(uuid4()))
        with pytest.raises(InvalidInput, match="several"):
            await task_id(conn, world.org, digit)


async def test_invalidations_have_an_outcome(database: Database) -> None:
    world = await World.made(database, source("a"), source("z"), job("b", "a"))
    await world.changed("a", DAY, columns=("x",), rows={"n": 1})
    await world.change("z", DAY)
    everything = await invalidations(world.caller, world.service)
    of_a = await invalidations(world.caller, world.service, dataset="a")
    still_open = await invalidations(world.caller, world.service, only_open=True)
    assert [each.dataset for each in everything][:2] == ["z", "a"]
    assert [(each.columns, each.row_filter, each.jobs) for each in of_a] == [(["x"], {"n": 1}, 1)]
    assert [each.dataset for each in still_open] == ["z"]


def outline(nodes: tuple[LineageNode, ...]) -> list[object]:
    return [(node.dataset, outline(node.next)) if node.next else node.dataset for node in nodes]


async def test_lineage_downstream_and_upstream(database: Database) -> None:
    world = await World.made(
        database, source("a"), source("z"), job("b", "a"), job("c", "b", "z"), job("d", "b")
    )
    down = await lineage_tree(world.caller, world.service)
    up = await lineage_tree(world.caller, world.service, "c", "up")
    assert outline(down) == [("a", [("b", ["c", "d"])]), ("z", ["c"])]
    assert outline(up) == [("c", [("b", ["a"]), "z"])]


async def test_a_dataset_is_expanded_once(database: Database) -> None:
    jobs = [source("d0")]
    for n in range(20):
        jobs += [job(f"l{n}", f"d{n}"), job(f"r{n}", f"d{n}"), job(f"d{n + 1}", f"l{n}", f"r{n}")]
    world = await World.made(database, *jobs)
    (root,) = await lineage_tree(world.caller, world.service)
    left, right = root.next
    assert not left.next[0].again
    assert right.next[0].again


async def test_edges_have_columns(database: Database) -> None:
    columns = {"y": ["a.x"], "*": ["a.k"]}
    world = await World.made(database, source("a"), job("b", "a", columns=columns), job("c", "b"))
    (root,) = await lineage_tree(world.caller, world.service, "a")
    assert root.next[0].columns == {"x": ("y",), "k": ("*",)}
    assert root.next[0].next[0].columns is None


async def test_an_empty_database_lacks_all_migrations(empty_database_url: str) -> None:
    async with (
        await Database.open(empty_database_url) as database,
        database.connection() as conn,
    ):
        assert (await missing_migrations(conn))[0] == "0001_schema"


async def test_a_migrated_database_lacks_no_migration(database: Database) -> None:
    async with database.connection() as conn:
        assert await missing_migrations(conn) == []
