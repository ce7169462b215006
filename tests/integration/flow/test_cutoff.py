"""Early cutoff: a result propagates only by its changed partitions and columns."""

from collections.abc import Mapping
from typing import Any

from engine.model.task import Output
from engine.store.database import Database
from tests.support.worlds import DAILY, WEEKLY, World, job, name_of, source

DAY = "2013-02-13"
BLOCK = ("2013-02-14", "2013-02-15")
Fingerprints = Mapping[str, str]


async def _run(world: World, made: Mapping[str, Fingerprints], **more: Any) -> list[str]:
    """Run all queued tasks; jobs in ``made`` report these fingerprints for their columns."""
    ran = []
    while leases := await world.claim():
        for lease in leases:
            name = lease.job.name
            columns = made.get(name)
            outputs = [
                Output(name, key, column_fingerprints=columns, **more) for key in lease.partitions
            ]
            await world.complete(lease, *outputs)
            ran.append(name_of(lease))
    return ran


def _reads(name: str, column: str) -> dict[str, Any]:
    return job(name, "b", columns={column: [f"b.{column}"]})


async def _priced(database: Database) -> World:
    """Two readers of one column each, run once."""
    readers = _reads("prices", "price"), _reads("names", "name")
    world = await World.made(database, source("a"), job("b", "a"), *readers)
    await world.changed("a", DAY)
    await _run(world, {"b": {"price": "1", "name": "1"}})
    return world


async def test_only_changed_columns_propagate(database: Database) -> None:
    world = await _priced(database)
    await world.changed("a", DAY)
    ran = await _run(world, {"b": {"price": "1", "name": "2"}})
    assert ran == [f"b[{DAY}]", f"names[{DAY}]"]
    assert (await world.tasks("prices"))["skipped"] == [f"prices[{DAY}]"]


async def test_a_reader_pruned_by_its_columns_is_pruned_again(database: Database) -> None:
    world = await _priced(database)
    await world.changed("a", DAY)
    await _run(world, {"b": {"price": "1", "name": "2"}})
    await world.changed("a", DAY)
    assert await _run(world, {"b": {"price": "1", "name": "2"}}) == [f"b[{DAY}]"]
    await world.changed("a", DAY)
    assert f"prices[{DAY}]" in await _run(world, {"b": {"price": "2", "name": "2"}})


async def test_added_rows_count_as_a_change_of_every_column(database: Database) -> None:
    world = await _priced(database)
    await world.changed("a", DAY)
    await _run(world, {"b": {"price": "1", "name": "1"}}, row_count=1, fingerprint="x")
    await world.changed("a", DAY)
    fingerprints = {"b": {"price": "1", "name": "2"}}
    ran = await _run(world, fingerprints, row_count=2, fingerprint="y")
    assert sorted(ran) == [f"b[{DAY}]", f"names[{DAY}]", f"prices[{DAY}]"]


async def test_without_column_fingerprints_every_column_counts_as_changed(
    database: Database,
) -> None:
    world = await _priced(database)
    await world.changed("a", DAY)
    assert len(await _run(world, {})) == 3


async def test_fingerprints_without_one_of_the_columns_are_ignored(database: Database) -> None:
    world = await _priced(database)
    await world.changed("a", DAY)
    assert len(await _run(world, {"b": {"price": "1"}})) == 3


async def test_a_reader_of_unknown_columns_runs_after_reports_of_single_columns(
    database: Database,
) -> None:
    """It may read columns that were not reported."""
    world = await World.made(
        database, source("a"), job("b", "a"), _reads("prices", "price"), job("copies", "b")
    )
    for _ in range(2):
        await world.changed("a", DAY)
        ran = await _run(world, {"b": {"price": "1"}})
        assert f"copies[{DAY}]" in ran


async def test_a_change_of_every_column_may_include_added_rows(database: Database) -> None:
    """The reader counts rows, by a column without a reported fingerprint."""
    counts = job("counts", "b", columns={"n": ["b.dt"]})
    world = await World.made(database, source("a"), job("b", "a"), counts, _reads("xs", "x"))
    for version in "12":
        await world.changed("a", DAY)
        ran = await _run(world, {"b": {"x": version}})
        assert sorted(ran) == [f"b[{DAY}]", f"counts[{DAY}]", f"xs[{DAY}]"]


async def test_a_reader_without_columns_runs_only_if_rows_were_added(database: Database) -> None:
    counts = job("counts", "b", columns={"n": [], "last": ["b.name"]})
    world = await World.made(
        database, source("a"), job("b", "a"), counts, _reads("prices", "price")
    )
    await world.changed("a", DAY)
    await _run(world, {"b": {"price": "1", "name": "1"}})
    await world.changed("a", DAY)
    ran = await _run(world, {"b": {"price": "2", "name": "1"}})
    assert ran == [f"b[{DAY}]", f"prices[{DAY}]"]


async def test_a_pruned_reader_runs_for_changes_read_by_an_upstream_run(database: Database) -> None:
    """An upstream run may have read more than its cause; readers of the extra changes must run."""
    by_column = {"price": ["a.price"], "name": ["a.name"]}
    readers = _reads("prices", "price"), _reads("names", "name")
    world = await World.made(database, source("a"), job("b", "a", columns=by_column), *readers)
    await world.changed("a", DAY)
    await _run(world, {"b": {"price": "1", "name": "1"}})
    await world.changed("a", DAY, columns=("price",))
    # The name has also changed, and the run reads the new value.
    assert await _run(world, {"b": {"price": "2", "name": "2"}}) == [f"b[{DAY}]", f"prices[{DAY}]"]
    await world.changed("a", DAY, columns=("name",))
    assert await _run(world, {"b": {"price": "2", "name": "2"}}) == [f"b[{DAY}]", f"names[{DAY}]"]


async def _world_with_a_pruned_column(database: Database) -> World:
    """`d` reads an unchanged column of `b`, and all of `c`; all have run once."""
    b = job("b", "a", columns={"price": ["a.price"], "name": ["a.name"]})
    c = job("c", "a", columns={"x": ["a.price"]})
    d = job("d", "b", "c", columns={"name": ["b.name"], "x": ["c.x"]})
    world = await World.made(database, source("a"), b, c, d)
    await world.changed("a", DAY)
    await _run(world, {"c": {"x": "1"}})
    return world


async def test_a_task_waiting_only_for_order_is_not_triggered(database: Database) -> None:
    world = await _world_with_a_pruned_column(database)
    await world.changed("a", DAY, columns=("price",))
    # b reports no columns, but the plan has not propagated over the edge to d: the price is not
    # read there.
    assert await _run(world, {"c": {"x": "1"}}) == [f"b[{DAY}]", f"c[{DAY}]"]


async def test_an_edge_propagates_only_partitions_that_are_dirty_in_its_columns(
    database: Database,
) -> None:
    other = BLOCK[0]
    world = await _world_with_a_pruned_column(database)
    await world.changed("a", other)
    await _run(world, {"c": {"x": "1"}})
    await world.change("a", DAY, columns=("price",))
    await world.changed("a", other, columns=("name",))
    ran = await _run(world, {"c": {"x": "1"}})
    assert [each for each in ran if each.startswith("d")] == [f"d[{other}]"]


async def test_a_blocker_kept_only_for_order_propagates_after_a_later_change(
    database: Database,
) -> None:
    world = await _world_with_a_pruned_column(database)
    await world.changed("a", DAY, columns=("price",))
    await world.changed("a", DAY, columns=("name",))
    ran = await _run(world, {"c": {"x": "1"}})
    assert ran == [f"b[{DAY}]", f"c[{DAY}]", f"d[{DAY}]"]


async def test_only_changed_partitions_of_a_block_propagate(database: Database) -> None:
    blocks = job("b", "a", scaling={"partitions_per_task": 10})
    world = await World.made(database, source("a"), blocks, job("c", "b"))
    await world.changed("a", *BLOCK)
    (lease,) = await world.claim()
    await world.complete(lease, *(Output("b", key, "same") for key in BLOCK))
    await world.run()
    await world.changed("a", *BLOCK)
    (lease,) = await world.claim()
    assert lease.partitions == BLOCK
    await world.complete(lease, Output("b", BLOCK[0], "same"), Output("b", BLOCK[1], "other"))
    assert await world.run() == [f"c[{BLOCK[1]}]"]


async def test_a_new_partition_among_unchanged_ones_propagates(database: Database) -> None:
    blocks = job("b", "a", scaling={"partitions_per_task": 10})
    weeks = job("w", "b", partitioning=WEEKLY)
    world = await World.made(database, source("a"), blocks, job("c", "b"), weeks)
    await world.changed("a", BLOCK[0])
    await world.run(same=["b"])
    await world.changed("a", *BLOCK)
    assert sorted((await world.run(same=["b"]))[1:]) == [f"c[{BLOCK[1]}]", "w[2013-W07]"]


async def test_an_unchanged_output_triggers_no_reader(database: Database) -> None:
    both = job("b", "a")
    both["outputs"].append(dict(both["outputs"][0], dataset="b2"))
    world = await World.made(database, source("a"), both, job("c", "b"), job("c2", "b2"))
    await world.changed("a", DAY)
    await world.run()
    for fingerprint in ("first", "second"):
        await world.changed("a", DAY)
        (lease,) = await world.claim()
        await world.complete(lease, Output("b", DAY, "same"), Output("b2", DAY, fingerprint))
        ran = await world.run()
    assert ran == [f"c2[{DAY}]"]


async def test_a_task_waiting_for_a_block_runs_only_for_changes_in_its_inputs(
    database: Database,
) -> None:
    blocks = job("b", "a", scaling={"partitions_per_task": 10})
    world = await World.made(database, source("a"), source("z"), blocks, job("c", "b", "z"))
    for day in BLOCK:
        await world.changed("a", day)
        await world.changed("z", day)
        await world.run()
    middle = job("m", "z")
    await world.deploy(source("a"), source("z"), blocks, middle, job("c", "b", "m"))
    await world.run(same=["m"])
    await world.changed("a", BLOCK[0])
    await world.changed("z", BLOCK[1])
    assert f"c[{BLOCK[1]}]" not in await world.run(same=["m"])


async def test_a_task_waiting_for_unknown_keys_runs_only_for_changes_in_its_inputs(
    database: Database,
) -> None:
    """Keys of an unbounded dimension are unpredictable, so the wait covers all partitions."""
    both = DAILY | {"k": {"dynamic": True}}
    world = await World.made(
        database, source("a", both), job("b", "a", partitioning=both), job("c", "b")
    )
    first, second = (f"dt={day}/k=x" for day in BLOCK)
    await world.changed("a", first, second)
    await world.run(same=["b"])
    await world.changed("a", first, second)
    for lease in await world.claim():
        await world.finish(lease, "same" if lease.partitions == (first,) else None)
    assert await world.run() == [f"c[{BLOCK[1]}]"]


async def test_a_block_does_not_run_for_changes_read_by_its_last_run(database: Database) -> None:
    """The block's last run read all inputs, but one partition was rebuilt separately."""
    blocks = job("c", "b", scaling={"partitions_per_task": 10})
    world = await World.made(database, source("a"), job("b", "a"), blocks)
    await world.changed("a", *BLOCK)
    assert (await world.run(same=["b"]))[2:] == [f"c[{BLOCK[0]}]"]
    await world.changed("a", BLOCK[1])
    (lease,) = await world.claim()
    await world.finish(lease, "other")
    assert await world.run() == [f"c[{BLOCK[0]}]"]
    await world.changed("a", *BLOCK)
    for lease in await world.claim():
        await world.finish(lease, "same" if lease.partitions == BLOCK[:1] else "other")
    assert await world.run() == []


async def test_a_task_does_not_run_again_for_a_change_it_has_read(database: Database) -> None:
    """A running task shows only at completion which version it read, so its successor waits."""
    world = await World.made(database, source("a"), job("b", "a"), job("c", "b"))
    for fingerprint in ("before", "after"):
        await world.changed("a", DAY)
        (lease,) = await world.claim()
        await world.finish(lease, fingerprint)
        (running,) = await world.claim()
        if fingerprint == "before":
            await world.finish(running)
    await world.changed("a", DAY)
    (lease,) = await world.claim()
    await world.finish(lease, "after")
    await world.finish(running)
    assert await world.run() == []


async def test_a_rebuild_that_reverts_a_rewrite_counts_as_a_change(
    database: Database,
) -> None:
    world = await World.made(database, source("a"), job("b", "a"), job("t", "b"))
    await world.changed("a", DAY)
    await world.run(b="1")
    await world.changed("b", DAY, reason="rewritten")
    assert await world.run() == [f"t[{DAY}]"]
    await world.changed("a", DAY)
    assert await world.run(b="1") == [f"b[{DAY}]", f"t[{DAY}]"]


async def test_a_rewritten_column_counts_as_changed_after_a_rebuild_for_another_column(
    database: Database,
) -> None:
    readers = _reads("prices", "price"), _reads("names", "name")
    columns = {"price": ["a.price"], "name": ["a.name"]}
    world = await World.made(database, source("a"), job("b", "a", columns=columns), *readers)
    made = {"b": {"price": "1", "name": "1"}}
    await world.changed("a", DAY)
    await _run(world, made)
    await world.changed("b", DAY, reason="rewritten", columns=("name",))
    assert await _run(world, {}) == [f"names[{DAY}]"]
    await world.changed("a", DAY, columns=("price",))
    assert await _run(world, made) == [f"b[{DAY}]"]
    await world.plan()
    assert await _run(world, {}) == [f"names[{DAY}]"]


async def test_a_rebuild_that_reverts_a_rewritten_column_changes_that_column(
    database: Database,
) -> None:
    readers = _reads("prices", "price"), _reads("names", "name")
    world = await World.made(database, source("a"), job("b", "a"), *readers)
    made = {"b": {"price": "1", "name": "1", "other": "1"}}
    await world.changed("a", DAY)
    await _run(world, made)
    await world.changed("b", DAY, reason="rewritten", columns=("name",))
    assert await _run(world, {}) == [f"names[{DAY}]"]
    await world.changed("a", DAY)
    assert await _run(world, made) == [f"b[{DAY}]", f"names[{DAY}]"]
