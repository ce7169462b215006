"""Deploys of corrected lineage: changes that the earlier lineage has pruned are made up for."""

from typing import Any

import pytest

from engine.flow.execution.cancel import cancel
from engine.flow.planning.audit import audit_all
from engine.lineage.content import MOST_ROW_CHANGES
from engine.store.database import Database
from tests.support.worlds import World, job, source

KEYS = {"k": {"static": ["x", "y"]}}
NARROW, WIDE = {"v": ["a.v"]}, {"v": ["a.v", "a.w"]}
STRATEGIES: dict[str, dict[str, Any]] = {
    "partitioned": {"partitioning": KEYS},
    "unpartitioned": {"partitioning": {}},
    "full": {"partitioning": KEYS, "execution_strategy": "Full"},
    "without partitions": {
        "partitioning": {"z": {"dynamic": True}},
        "execution_strategy": "Full",
    },
}


def _source() -> dict[str, Any]:
    made = source("a", {})
    made["outputs"][0]["columns"] = ["k", "v", "w"]
    return made


def _b(columns: Any = None, **more: Any) -> dict[str, Any]:
    entry = {"dataset": "a", "mapping": "all", **more.pop("entry", {})}
    return job("b", entry, **({"partitioning": {}, "columns": columns} | more))


async def _lost(world: World) -> int:
    async with world.conn() as conn:
        return (await audit_all(conn, world.org)).lost


@pytest.mark.parametrize("strategy", STRATEGIES.values(), ids=STRATEGIES)
async def test_a_column_added_to_the_lineage_rebuilds_its_readers(
    database: Database, strategy: dict[str, Any]
) -> None:
    world = await World.made(database, _source(), _b(NARROW, **strategy))
    await world.changed("a")
    built = await world.run()
    await world.changed("a", columns=("w",))
    assert await world.run() == []

    await world.deploy(_source(), _b(WIDE, **strategy))
    assert sorted(await world.run()) == sorted(built)
    assert await _lost(world) == 0


@pytest.mark.parametrize("strategy", STRATEGIES.values(), ids=STRATEGIES)
async def test_a_change_pruned_during_a_first_run_is_made_up_for(
    database: Database, strategy: dict[str, Any]
) -> None:
    world = await World.made(database, _source(), _b(NARROW, **strategy))
    await world.changed("a")
    leases = await world.claim()
    await world.changed("a", columns=("w",))
    await world.deploy(_source(), _b(WIDE, **strategy))
    for lease in leases:
        await world.finish(lease)
    assert sorted(await world.run()) == sorted(world.log[: len(leases)])
    assert await _lost(world) == 0


async def test_a_first_run_without_a_pruned_change_is_not_repeated(database: Database) -> None:
    world = await World.made(database, _source(), _b(NARROW))
    await world.changed("a")
    (lease,) = await world.claim()
    await world.changed("a", columns=("k",))
    await world.deploy(_source(), _b(WIDE))
    await world.finish(lease)
    assert await world.run() == []


async def test_lineage_removed_from_the_file_rebuilds_the_readers_of_all_columns(
    database: Database,
) -> None:
    undeclared = _b(["v"])
    world = await World.made(database, _source(), _b(NARROW))
    await world.changed("a")
    await world.run()
    await world.changed("a", columns=("w",))

    await world.deploy(_source(), undeclared)
    assert await world.run() == ["b[*]"]


async def test_removed_passes_rebuild_the_partitions_without_the_condition(
    database: Database,
) -> None:
    wrong = _b(partitioning=KEYS, entry={"passes": {"k": "k"}})
    world = await World.made(database, _source(), wrong)
    await world.changed("a")
    assert sorted(await world.run()) == ["b[x]", "b[y]"]
    await world.changed("a", rows={"k": "x"}, columns=("v",))
    assert await world.run() == ["b[x]"]

    await world.deploy(_source(), _b(partitioning=KEYS))
    assert await world.run() == ["b[y]"]
    assert await _lost(world) == 0


async def test_a_pruned_change_is_found_after_many_changes_of_other_rows(
    database: Database,
) -> None:
    world = await World.made(database, _source(), _b(NARROW))
    await world.changed("a")
    await world.run()
    await world.changed("a", columns=("w",), rows={"k": "x"})
    for n in range(MOST_ROW_CHANGES + 1):
        await world.changed("a", columns=("k",), rows={"v": n})

    await world.deploy(_source(), _b(WIDE))
    assert await world.run() == ["b[*]"]


@pytest.mark.parametrize("strategy", [{}, {"execution_strategy": "Full"}])
async def test_a_pruned_change_is_found_after_many_changes_of_rows_that_were_excluded(
    database: Database, strategy: dict[str, str]
) -> None:
    """The changes replace the evidence, so the runs that they have not reached are all repeated."""
    x_only: dict[str, Any] = {"partitioning": {"k": {"static": ["x"]}}, **strategy}
    entry = {"passes": {"k": "k"}}
    world = await World.made(database, _source(), _b(NARROW, entry=entry, **x_only))
    await world.changed("a")
    await world.run()
    await world.changed("a", columns=("w",))
    for n in range(MOST_ROW_CHANGES + 1):
        await world.changed("a", columns=("v",), rows={"k": "y", "w": n})

    await world.deploy(_source(), _b(WIDE, entry=entry, **x_only))
    assert len(await world.run()) == 1
    assert await _lost(world) == 0


@pytest.mark.parametrize("changed", [None, ("k",), ("v",)])
async def test_nothing_is_rebuilt_without_a_pruned_change(
    database: Database, changed: tuple[str, ...] | None
) -> None:
    world = await World.made(database, _source(), _b(NARROW))
    await world.changed("a")
    await world.run()
    if changed:
        await world.changed("a", columns=changed)
        await world.run()
    await world.deploy(_source(), _b(WIDE))
    assert await world.run() == []


async def test_partitions_left_stale_for_another_change_are_left(database: Database) -> None:
    world = await World.made(database, _source(), _b(NARROW))
    await world.changed("a")
    await world.run()
    await world.changed("a", columns=("v",))
    await _cancel(world)

    await world.deploy(_source(), _b(WIDE))
    assert await world.run() == []
    await world.changed("a", columns=("v",))
    await _cancel(world)
    await world.changed("a", columns=("w",))
    assert await world.run() == ["b[*]"]


async def _cancel(world: World) -> None:
    (task,) = await world.rows("SELECT id FROM tasks WHERE status = 'queued'")
    async with world.conn() as conn:
        await cancel(conn, world.org, task["id"])


async def test_a_manual_job_is_not_run(database: Database) -> None:
    world = await World.made(database, _source(), _b(NARROW, activation="manual"))
    await world.changed("a")
    await world.changed("b")
    assert await world.run() == ["b[*]"]
    await world.changed("a", columns=("w",))

    await world.deploy(_source(), _b(WIDE, activation="manual"))
    assert await world.run() == []


@pytest.mark.parametrize("is_running", [False, True])
async def test_changes_of_runs_in_progress_reach_further_readers(
    database: Database, is_running: bool
) -> None:
    """The plan of the run has pruned the reader."""
    middle = job("a2", "a", partitioning={}, columns={"v": ["a.v"], "w": ["a.w"]})
    reader, corrected = (
        job("b", "a2", partitioning={}, columns={"x": columns})
        for columns in (["a2.v"], ["a2.v", "a2.w"])
    )
    world = await World.made(database, _source(), middle, reader)
    await world.changed("a")
    await world.run(a2="1")
    await world.changed("a", columns=("w",))
    leases = await world.claim() if is_running else []

    await world.deploy(_source(), middle, corrected)
    for lease in leases:
        await world.finish(lease, "2")
    await world.run(a2="2")
    await world.plan()
    await world.run()
    assert world.log == ["a2[*]", "b[*]", "a2[*]", "b[*]"]
    assert await _lost(world) == 0


def _middle(columns: Any) -> dict[str, Any]:
    return job("b", "a", partitioning={}, columns=columns)


_MIDDLE = {"p": ["a.v"], "q": ["a.w"], "s": ["a.k"]}
_CORRECTED = _MIDDLE | {"q": ["a.w", "a.v"]}


@pytest.mark.parametrize("other_dag", [False, True])
async def test_an_output_column_added_to_a_read_column_rebuilds_its_readers(
    database: Database, other_dag: bool
) -> None:
    """The run has read the column for another output column, so it is fresh; its reader is not."""
    corrected = _middle(_CORRECTED)
    readers = [
        job("c", "b", partitioning={}, columns={"r": ["b.q"]}),
        job("d", "b", partitioning={}, columns={"r": ["b.s"]}),
    ]
    if other_dag:
        world = await World.made(database, _source(), _middle(_MIDDLE))
        await world.deploy(*readers, dag="two")
    else:
        world = await World.made(database, _source(), _middle(_MIDDLE), *readers)
    await world.changed("a")
    assert await world.run() == ["b[*]", "c[*]", "d[*]"]
    await world.changed("a", columns=("v",))
    assert await world.run(b="2") == ["b[*]"]

    await world.deploy(*([_source(), corrected] if other_dag else [_source(), corrected, *readers]))
    assert await world.run(b="2") == ["c[*]"]


async def test_readers_that_have_run_since_the_change_are_not_repeated(database: Database) -> None:
    reader = job("c", "b", partitioning={}, columns={"r": ["b.q", "b.p"]})
    world = await World.made(database, _source(), _middle(_MIDDLE), reader)
    await world.changed("a")
    await world.run()
    await world.changed("a", columns=("v",))
    assert await world.run(b="2", c="2") == ["b[*]", "c[*]"]

    await world.deploy(_source(), _middle(_CORRECTED), reader)
    assert await world.run(b="2", c="2") == []


async def test_an_added_output_column_rebuilds_further_dependents(database: Database) -> None:
    """The reader has run, but its own output was changed in another column only."""
    middle = job("c", "b", partitioning={}, columns={"x": ["b.p"], "y": ["b.q"]})
    last = job("d", "c", partitioning={}, columns={"z": ["c.y"]})
    world = await World.made(database, _source(), _middle(_MIDDLE), middle, last)
    await world.changed("a")
    await world.run()
    await world.changed("a", columns=("v",))
    assert await world.run(b="2", c="2") == ["b[*]", "c[*]"]

    await world.deploy(_source(), _middle(_CORRECTED), middle, last)
    assert await world.run(b="2", c="2") == ["d[*]"]
    assert await _lost(world) == 0


@pytest.mark.parametrize("is_running", [False, True])
async def test_runs_in_progress_propagate_to_readers_of_added_output_columns(
    database: Database, is_running: bool
) -> None:
    reader = job("c", "b", partitioning={}, columns={"r": ["b.q"]})
    world = await World.made(database, _source(), _middle(_MIDDLE), reader)
    await world.changed("a")
    await world.run()
    await world.changed("a", columns=("v",))
    leases = await world.claim() if is_running else []

    await world.deploy(_source(), _middle(_CORRECTED), reader)
    for lease in leases:
        await world.finish(lease, "2")
    await world.run(b="2")
    await world.plan()
    await world.run()
    assert world.log == ["b[*]", "c[*]", "b[*]", "c[*]"]


@pytest.mark.parametrize("changes", [1, MOST_ROW_CHANGES + 1])
async def test_passes_removed_in_the_middle_rebuild_the_further_readers(
    database: Database, changes: int
) -> None:
    """Row changes of the reader that are no longer listed have raised the versions it recorded."""
    wrong = job("b", {"dataset": "a", "passes": {"k": "k"}}, partitioning={}, columns=["k", "v"])
    right = job("b", "a", partitioning={}, columns=["k", "v"])
    reader = job("c", {"dataset": "b", "mapping": "all", "passes": {"k": "k"}}, partitioning=KEYS)
    world = await World.made(database, _source(), wrong, reader)
    await world.changed("a")
    assert sorted(await world.run()) == ["b[*]", "c[x]", "c[y]"]
    for n in range(changes):
        await world.changed("a", rows={"k": "x"}, columns=("v",))
        assert await world.run(b=str(n + 2)) == ["b[*]", "c[x]"]

    await world.deploy(_source(), right, reader)
    assert await world.run() == ["c[y]"]
