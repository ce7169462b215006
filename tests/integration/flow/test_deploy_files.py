"""What files that are deployed together may expect of each other: datasets, tables, moved jobs."""

from typing import Any

import pytest

from engine.errors import InvalidDag
from engine.flow.deployment.current_versions import compile_each
from engine.lineage import compile_together
from engine.service.commands.deploys import deploy as deploy_by_service
from engine.store.database import Database
from tests.support.deploys import columned, dag, days, sql, together
from tests.support.worlds import DAILY, World, job, source

DAY, WEEK = "2013-02-13", "2013-02-11..2013-02-17"


def writing(name: str, table: str, **more: Any) -> dict[str, Any]:
    return sql(name, "SELECT dt, 1 AS x FROM a", "a", table=table, **more)


async def test_new_dags_may_read_each_other(database: Database) -> None:
    """Both files compile; likewise if each only adds a dataset that the other begins to read."""
    world = await World.made(database, source("x"))
    await together(
        world,
        dag("one", source("a"), job("d", "c")),
        dag("two", job("c", "a")),
    )


def test_validate_of_files_that_read_each_other() -> None:
    """The files may read each other's outputs, as the help of the command says."""
    one = dag("one", source("a"), job("d", "c"))
    two = dag("two", source("b"), job("c", "b"), job("e", "a"))
    assert compile_each({}, [one, two])[1] == {}


async def test_datasets_are_exchanged(database: Database) -> None:
    """A dataset moves from each DAG to the other, as one dataset may move alone."""
    world = await World.made(database, source("a"))
    await together(world, dag("one", job("b", "a")), dag("two", job("c", "a")))
    await together(world, dag("one", job("c", "a")), dag("two", job("b", "a")))


def test_the_order_of_files_costs_little(monkeypatch: pytest.MonkeyPatch) -> None:
    """Files given before those that they read are compiled a few times each."""
    count, compile_one = [0], compile_together.compile_beside

    def counted(*args: Any) -> Any:
        count[0] += 1
        return compile_one(*args)

    monkeypatch.setattr(compile_together, "compile_beside", counted)
    chain = [dag("d0", source("x0"))]
    chain += [dag(f"d{i}", job(f"x{i}", f"x{i - 1}")) for i in range(1, 12)]
    assert compile_each({}, chain[::-1])[1] == {}
    assert count[0] <= 4 * len(chain)


async def test_tables_that_reach_each_other_in_two_files(database: Database) -> None:
    """Two files are rejected where one file, or two deploys, would be."""
    world = await World.made(database, source("a"))
    async with world.conn() as conn:
        await conn.execute(b"CREATE TABLE public.parent (dt date, x int)")
        await conn.execute(b"CREATE TABLE public.child () INHERITS (public.parent)")
    parent, child = writing("b", "parent", adopt=True), writing("c", "child", adopt=True)
    with pytest.raises(InvalidDag, match="holds"):
        await together(world, dag("one", parent, child))
    with pytest.raises(InvalidDag, match="holds"):
        await together(world, dag("one", parent), dag("two", child))


async def test_a_table_is_handed_over(database: Database) -> None:
    """A table given up by one file may be used by the other, as within one file."""
    world = await World.made(database, source("a"))
    await together(world, dag("one", writing("b", "t")), dag("two", writing("c", "u")))
    await together(world, dag("one", writing("b", "v")), dag("two", writing("c", "t")))


@pytest.mark.parametrize("activation", ["manual", "reactive"])
async def test_a_requested_build_of_a_moved_job_is_kept(
    database: Database, activation: str
) -> None:
    """A requested partition, not built yet, is built after the move."""
    moved = job("b", "a", activation=activation)
    world = await World.made(database, source("a"), moved, dag="above")
    await world.changed("b", DAY)
    assert (await world.tasks())["queued"] == [f"b[{DAY}]"]
    await together(world, dag("above", source("a")), dag("below", moved))
    assert (await world.tasks()).get("queued") == [f"b[{DAY}]"]


@pytest.mark.parametrize("activation", ["manual", "reactive"])
async def test_a_requested_build_of_a_renamed_job_is_kept(
    database: Database, activation: str
) -> None:
    """The dataset moves to another job of the same DAG."""
    job_before = job("b", "a", activation=activation)
    world = await World.made(database, source("a"), job_before, dag="above")
    await world.changed("b", DAY)
    await together(world, dag("above", source("a"), job_before | {"name": "other"}))
    assert (await world.tasks())["queued"] == [f"other[{DAY}]"]


async def test_a_follower_that_does_not_compile_keeps_its_version(database: Database) -> None:
    """`two` compiles beside the current `one`, but not beside the `one` that follows."""
    world = await World.made(database, source("x"))
    declared = job("h", "f", columns={"dt": ["f.dt"], "z": ["f.y"]})
    one = dag("one", sql("f", "SELECT * FROM a", "a"))
    two = dag("two", sql("g", "SELECT a.* FROM a", "a"), declared)
    await together(world, dag("above", columned("x", "y")), one, two)
    assert (await together(world, dag("above", columned("x")))).followed == ("one",)


async def test_a_dag_follows_another_one_that_follows(database: Database) -> None:
    """`two` reads `one`, which reads all columns of `above`."""
    world = await World.made(database, source("x"))
    one = dag("one", sql("f", "SELECT * FROM a", "a"))
    two = dag("two", sql("g", "SELECT * FROM f", "f"))
    await together(world, dag("above", columned("x", "y")), one, two)
    done = await together(world, dag("above", columned("x")))
    assert sorted(done.followed) == ["one", "two"]
    columns = await world.rows(
        "SELECT k.name FROM current_datasets c JOIN datasets d ON d.id = c.dataset_uuid "
        "JOIN dataset_versions v ON v.id = c.dataset_version, unnest(v.columns) AS k "
        "WHERE d.name = 'g' ORDER BY 1"
    )
    assert [row["name"] for row in columns] == ["dt", "x"]


async def test_an_append_job_of_another_file_is_rebuilt_without_lost_partitions(
    database: Database,
) -> None:
    """Rows of the partitions that the other file removes would stay in its output."""
    world = await World.made(database, source("x"))
    keyed = {"update_strategy": "append", "unique_key": ["id"]}
    appended = job("c", {"dataset": "a", "mapping": "all"}, partitioning=DAILY, **keyed)
    await together(world, dag("above", source("a")), dag("below", appended))
    narrower = dag("above", source("a", days("2013-01-01", "2013-02-15")))
    changed = dag("below", appended | {"description": "of fewer days"})
    done = await together(world, narrower, changed)
    assert [list(each.diff.regenerated) for each in done.dags] == [[], ["c"]]


async def test_wait_includes_what_other_dags_build(database: Database) -> None:
    """`--wait` waits "until everything affected is recomputed"."""
    world = await World.made(database, source("a"), dag="above")
    everything = {"dataset": "a", "mapping": "all"}
    few = days("2013-02-11", "2013-02-13")
    await together(world, dag("below", job("c", everything, partitioning=few)))
    await world.changed("a", WEEK)
    await world.run()
    narrower = dag("above", source("a", days("2013-01-01", "2013-02-15")))
    done = await deploy_by_service(world.caller, world.service, [narrower])
    assert (done.tasks, len(done.invalidations)) == (2, 1)
