"""Explanations of partitions: state, reasons, and upstream changes without effect."""

from io import StringIO
from typing import Any
from uuid import UUID

import pytest
from rich.console import Console

from engine.cli.render.explanation import partition_tree
from engine.errors import InvalidInput, InvalidPartition, UnknownName
from engine.flow.execution.cancel import cancel
from engine.flow.execution.fail import fail
from engine.flow.planning.approve import approve, reject
from engine.flow.planning.set_aside import set_aside
from engine.model.task import Output
from engine.service.queries.explain_partition import ExplainedPartition, explain_partition
from engine.service.queries.explain_task import explain_task
from engine.store.database import Database
from engine.store.orgs import set_setting
from engine.store.rows.invalidations import LockedInvalidation
from engine.store.run import fetch
from tests.support.worlds import World, finding_job, job, source

DAY, OTHER = "2013-02-14", "2013-02-15"


async def explained(world: World, dataset: str, key: str = DAY) -> ExplainedPartition:
    return await explain_partition(world.caller, world.service, dataset, key)


async def built(database: Database) -> World:
    """Two datasets with one built day."""
    world = await World.made(
        database,
        source("a"),
        job("b", "a", columns={"y": ["a.x"]}),
        job("c", "b", columns={"z": ["b.y"]}),
    )
    await world.changed("a", DAY)
    await world.run()
    return world


async def test_a_dataset_without_a_partition_is_refused(database: Database) -> None:
    world = await built(database)
    with pytest.raises(InvalidInput, match="'c' is a dataset: name a partition as well"):
        await explain_task(world.caller, world.service, "c")


async def test_a_built_partition_is_fresh(database: Database) -> None:
    world = await built(database)
    view = await explained(world, "c")
    assert (view.stale, view.unfinished, view.pruned_changes) == ((), (), ())
    assert view.materialized_at is not None
    assert view.task_id == (await world.task(f"c[{DAY}]", "succeeded"))["id"]


async def test_an_unbuilt_partition_is_stale(database: Database) -> None:
    view = await explained(await built(database), "c", OTHER)
    assert view.stale == ("never built",)
    assert view.materialized_at is None


async def test_an_unplanned_invalidation_makes_a_partition_stale(database: Database) -> None:
    world = await built(database)
    requested = await world.change("c", "2013-02-10..2013-02-15")
    view = await explained(world, "c")
    assert view.open_invalidations == requested.invalidations
    assert view.stale == ("an invalidation is not planned yet",)
    assert (await explained(world, "b")).stale == ()


async def test_inputs_of_other_partitions_in_a_block_do_not_make_a_partition_stale(
    database: Database,
) -> None:
    blocks = job("c", "b", scaling={"partitions_per_task": 10})
    world = await World.made(database, source("a"), job("b", "a"), blocks)
    await world.changed("a", DAY, OTHER)
    await world.run()
    await world.changed("a", OTHER)
    await world.run()
    assert (await explained(world, "c", DAY)).stale == ()


async def test_a_newer_input_or_a_task_makes_a_partition_stale(database: Database) -> None:
    world = await built(database)
    await world.changed("a", DAY)
    view = await explained(world, "b")
    (newer,) = view.newer_inputs
    assert (newer.dataset, newer.partition) == ("a", DAY)
    assert newer.read is not None
    assert newer.read < newer.now
    assert view.stale == (
        f"input a has changed since the last run: {DAY}",
        "a task is queued",
    )
    assert (await explained(world, "c")).stale == ("a task is blocked",)


async def test_a_new_definition_has_not_been_built(database: Database) -> None:
    world = await built(database)
    await world.deploy(
        source("a"),
        job("b", "a", columns={"y": ["a.x"]}, config={"callable": "else:where"}),
        job("c", "b", columns={"z": ["b.y"]}),
    )
    stale = (await explained(world, "c")).stale
    assert stale[0] == "never built"


async def test_a_change_of_unread_columns_has_a_pruned_edge(database: Database) -> None:
    world = await built(database)
    await world.changed("a", DAY, columns=("notes",), reason="correction")
    assert (await explained(world, "b")).stale == ()
    view = await explained(world, "c")
    assert view.stale == ()
    (change,) = view.pruned_changes
    assert (change.dataset, change.reason) == ("a", "correction")
    assert [(edge.job, edge.rule) for edge in change.pruned] == [("b", "columns")]


async def test_a_change_of_other_rows_has_a_pruned_edge(database: Database) -> None:
    world = await World.made(
        database, source("a"), job("b", {"dataset": "a", "passes": {"day": "dt"}})
    )
    await world.changed("a", "2013-02-11..2013-02-17")
    await world.run()
    await world.changed("a", DAY, rows={"day": OTHER})
    assert await world.run() == []
    (change,) = (await explained(world, "b")).pruned_changes
    assert [(edge.job, edge.rule) for edge in change.pruned] == [("b", "rows")]


async def test_a_wave_that_stopped_upstream_has_a_pruned_edge(database: Database) -> None:
    world = await built(database)
    for _ in range(2):  # the first one has no fingerprint to come out the same as
        await world.changed("a", DAY)
        await world.run(same=["b"])
    skipped = await world.task(f"c[{DAY}]", "skipped")
    (change,) = (await explained(world, "c")).pruned_changes
    (edge,) = change.pruned
    assert (edge.dataset, edge.job, edge.rule) == ("b", "c", "unchanged")
    assert str(skipped["id"])[-8:] in edge.detail
    assert (await explained(world, "b")).pruned_changes == ()


async def test_a_dependent_of_a_canceled_task_has_a_pruned_edge(database: Database) -> None:
    world = await built(database)
    await world.changed("a", DAY, reason="manual")
    task = await world.task(f"b[{DAY}]", "queued")
    async with world.conn() as conn:
        await cancel(conn, world.org, task["id"], by="ann")
    view = await explained(world, "c")
    (change,) = view.pruned_changes
    assert change.pruned[0].detail.startswith("no run changed an input from b, so task ")
    assert "not affected by a change of a  manual" in " ".join(shown(view))


async def test_a_change_of_other_partitions_lists_those(database: Database) -> None:
    world = await built(database)
    await world.changed("a", OTHER)
    await world.run()
    for key, touched in ((DAY, OTHER), (OTHER, DAY)):
        (change,) = (await explained(world, "c", key)).pruned_changes
        (edge,) = change.pruned
        assert (edge.job, edge.rule) == ("c", "partitions")
        assert edge.detail == f"it touched {touched} only"


async def _same_names(database: Database) -> World:
    """Return a world with a job ``b`` in two DAGs: one of ``a``, and one of ``z``, of ``other``."""
    other = job("b", "z", columns={"y": ["z.x"]})
    other["outputs"][0]["dataset"] = "other"
    world = await World.made(
        database, source("a"), source("z"), job("b", "a", columns={"y": ["a.x"]})
    )
    await world.deploy(other, dag="second")
    for dataset in "az":
        await world.change(dataset, DAY, OTHER)
    await world.plan()
    await world.run()
    return world


async def test_pruned_edges_of_another_job_of_the_same_name_are_not_listed(
    database: Database,
) -> None:
    world = await _same_names(database)
    for dataset in "az":
        await world.change(dataset, DAY, columns=("unread",))
    await world.plan()
    for dataset, source_of in (("b", "a"), ("other", "z")):
        view = await explained(world, dataset)
        edges = [edge.dataset for change in view.pruned_changes for edge in change.pruned]
        assert edges == [source_of]


async def test_partitions_of_another_job_of_the_same_name_are_not_listed(
    database: Database,
) -> None:
    world = await _same_names(database)
    await world.change("a", DAY)
    await world.change("z", OTHER)
    await world.plan()
    for dataset, key, touched in (("b", OTHER, DAY), ("other", DAY, OTHER)):
        view = await explained(world, dataset, key)
        details = [edge.detail for change in view.pruned_changes for edge in change.pruned]
        assert details == [f"it touched {touched} only"]


async def test_a_manual_job_is_stale_until_started(database: Database) -> None:
    world = await World.made(database, source("a"), job("b", "a", activation="manual"))
    await world.changed("b", DAY)
    await world.run()
    await world.changed("a", DAY)
    assert (await explained(world, "b")).stale == (
        f"input a has changed since the last run: {DAY}",
    )


async def test_a_source_is_always_fresh(database: Database) -> None:
    view = await explained(await built(database), "a")
    assert (view.is_source, view.stale, view.task_id) == (True, (), None)


async def test_only_a_single_known_partition_is_explained(database: Database) -> None:
    world = await built(database)
    for text in ("*", "2013-02-01..2013-02-03", "nonsense"):
        with pytest.raises(InvalidPartition):
            await explained(world, "c", text)
    with pytest.raises(UnknownName):
        await explained(world, "nowhere")


async def limited(database: Database) -> World:
    """A world where every later plan exceeds the limit of the org."""
    world = await built(database)
    async with world.conn() as conn:
        await set_setting(conn, world.org.id, "blast_radius", 1)
    return world


async def decide(world: World, verb: Any) -> UUID:
    (row,) = await world.rows("SELECT id FROM plans WHERE state = 'pending_approval'")
    async with world.conn() as conn:
        await verb(conn, world.org, row["id"], "ann")
    plan_id: UUID = row["id"]
    return plan_id


async def test_a_plan_pending_approval_is_listed_for_all_its_partitions(database: Database) -> None:
    world = await limited(database)
    await world.changed("a", DAY)
    for dataset in ("b", "c"):
        view = await explained(world, dataset)
        (plan,) = view.not_run
        assert (plan.state, plan.by) == ("pending_approval", None)
        assert plan.why == ("2 partitions in all; the org allows 1 in one plan",)
        assert f"plan {str(plan.id)[-8:]} is pending approval" in view.stale
    assert (await explained(world, "c", OTHER)).not_run == ()
    await decide(world, approve)
    await world.run()
    assert (await explained(world, "b")).stale == (await explained(world, "c")).stale == ()


async def test_a_partition_found_later_is_of_the_plan_of_its_single_run_job(
    database: Database,
) -> None:
    jobs = job("b", "a", partitioning={}), finding_job("f", "a", "z")
    world = await World.made(database, source("a", {}), source("z", {}), *jobs)
    async with world.conn() as conn:
        await set_setting(conn, world.org.id, "blast_radius", 1)
    await world.changed("a")
    await world.changed("z")
    (lease,) = await world.claim()
    await world.complete(lease, Output("f", "K"))
    view = await explained(world, "f", "K")
    assert [(plan.state, plan.by) for plan in view.not_run] == [("pending_approval", None)]
    assert view.pruned_changes == ()


async def test_partitions_of_a_rejected_plan_stay_stale(database: Database) -> None:
    world = await limited(database)
    await world.changed("a", DAY)
    plan_id = await decide(world, reject)
    view = await explained(world, "b")
    assert view.stale == (
        f"input a has changed since the last run: {DAY}",
        f"plan {str(plan_id)[-8:]} was rejected",
    )
    assert view.not_run[0].by == "ann"
    assert (await explained(world, "c")).stale == (), "it is made of what is there"


async def test_a_later_change_of_other_columns_does_not_hide_a_rejected_plan(
    database: Database,
) -> None:
    world = await limited(database)
    await world.changed("a", DAY, columns=("x",))
    plan_id = await decide(world, reject)
    await world.changed("a", DAY, columns=("notes",))
    view = await explained(world, "b")
    assert f"plan {str(plan_id)[-8:]} was rejected" in view.stale


async def test_a_rebuilt_partition_is_fresh_again(database: Database) -> None:
    world = await limited(database)
    for dataset in ("a", "b"):
        await world.changed(dataset, DAY)
        await decide(world, reject)
    assert len((await explained(world, "b")).not_run) == 2
    await world.changed("a", DAY)
    await decide(world, approve)
    await world.run()
    view = await explained(world, "b")
    assert (view.stale, view.not_run) == ((), ())


async def test_an_output_declared_wrong_stays_stale_after_a_rejection(
    database: Database,
) -> None:
    world = await limited(database)
    await world.changed("b", DAY)
    plan_id = await decide(world, reject)
    assert (await explained(world, "b")).stale == (f"plan {str(plan_id)[-8:]} was rejected",)


def shown(view: ExplainedPartition) -> list[str]:
    console = Console(file=(out := StringIO()), width=160)
    console.print(partition_tree(view))
    return [line.strip("├└│─ ") for line in out.getvalue().splitlines()]


async def test_a_plan_that_did_not_run_is_the_reason_of_the_verdict(database: Database) -> None:
    world = await limited(database)
    await world.changed("b", DAY)
    for dataset in "bc":
        view = await explained(world, dataset)
        (plan,) = view.not_run
        assert (view.verdict, view.explained_by) == ("left", f"plan {plan.id} is pending approval")
        head, _, audit, *more = shown(view)
        assert (head, audit) == (
            f"{dataset} {DAY}  stale",
            f"audit: stale, awaits approval: plan {plan.id} is pending approval",
        )
        assert any(line.endswith(f"knockon approve {str(plan.id)[-8:]}") for line in more)
    plan_id = await decide(world, reject)
    assert await verdict(world, "b") == ("left", f"plan {plan_id} was rejected by ann")
    assert "audit: stale, left by decision: plan" in shown(await explained(world, "b"))[2]
    assert await verdict(world, "c") == ("fresh", "")
    assert shown(await explained(world, "c"))[0] == f"c {DAY}  fresh"


async def test_a_task_downstream_is_the_reason_of_the_verdict(database: Database) -> None:
    world = await built(database)
    await world.changed("a", DAY)
    task = await world.task(f"c[{DAY}]", "blocked")
    assert await verdict(world, "c") == ("in hand", f"task {task['id']} is blocked")


async def test_a_partition_that_need_not_exist_is_not_shown_as_stale(database: Database) -> None:
    view = await explained(await built(database), "c", OTHER)
    assert view.verdict == "waiting"
    assert shown(view)[0] == f"c {OTHER}  not built yet"


async def verdict(world: World, dataset: str, key: str = DAY) -> tuple[str, str]:
    view = await explained(world, dataset, key)
    return view.verdict, view.explained_by or ""


async def test_the_verdict_equals_the_audit(database: Database) -> None:
    world = await built(database)
    assert await verdict(world, "b") == ("fresh", "")
    await world.changed("a", DAY)
    task = await world.task(f"b[{DAY}]", "queued")
    assert await verdict(world, "b") == ("in hand", f"task {task['id']} is queued")
    async with world.conn() as conn:
        await cancel(conn, world.org, task["id"], by="ann")
    left, because = await verdict(world, "b")
    assert (left, because.partition(" at ")[0]) == ("left", "canceled by ann")
    await world.rows("DELETE FROM stale_decisions RETURNING partition_key")
    assert await verdict(world, "b") == ("lost", "")


@pytest.mark.parametrize("dataset", ["a", "b"])
async def test_the_verdict_for_a_set_aside_invalidation_has_the_error(
    database: Database, dataset: str
) -> None:
    world = await built(database)
    await world.change(dataset, DAY)
    assert await verdict(world, dataset) == ("in hand", "an invalidation of it is not planned yet")
    async with world.conn() as conn:
        (row,) = await fetch(
            conn, "invalidations.lock_open", LockedInvalidation, org_id=world.org.id, limit=9
        )
        await set_aside(conn, row, ValueError("x"))
    because = "an invalidation of it cannot be planned: ValueError: x"
    assert await verdict(world, dataset) == ("left", because)


async def test_a_first_run_with_a_missing_input_is_waiting(database: Database) -> None:
    weekly = {
        "dataset": "a",
        "mapping": {"dt": {"from": "dt", "window": [-1, 0]}},
        "wait_for": "all",
    }
    world = await World.made(database, source("a"), job("b", weekly))
    assert await verdict(world, "b", OTHER) == ("waiting", "")
    await world.changed("a", OTHER)
    view = await explained(world, "b", OTHER)
    (task,) = view.unfinished
    assert (view.verdict, view.explained_by) == ("waiting", f"task {task.id} is blocked")
    assert task.waiting_for == {"a": [DAY]}
    await world.changed("a", DAY)
    assert (await verdict(world, "b", OTHER))[0] == "in hand"
    await world.run()
    assert await verdict(world, "b", OTHER) == ("fresh", "")


async def test_a_partition_missing_from_one_of_two_inputs_is_not_lost(
    database: Database,
) -> None:
    days = {"dt": {"time": "day", "start": DAY, "end": "2013-03-01"}}
    buckets = {"n": {"range": 10, "start": 0, "end": 20}}
    by_bucket = {"dataset": "b", "mapping": {"n": "n", "dt": "all"}}
    by_day = {"dataset": "a", "mapping": {"dt": "dt", "n": "all"}}
    d = job("d", by_bucket, by_day, partitioning=days | buckets)
    world = await World.made(database, source("a", days), source("b", buckets), d)
    await world.changed("b", "0-9")
    await world.changed("a", DAY)
    await world.run()
    assert await verdict(world, "d", f"dt={DAY}/n=0-9") == ("fresh", "")
    assert await verdict(world, "d", f"dt={DAY}/n=10-19") == ("waiting", "")


async def test_a_partition_is_shown_with_the_verdict(database: Database) -> None:
    world = await built(database)
    await world.change("b", DAY)
    out = StringIO()
    Console(file=out, width=160).print(partition_tree(await explained(world, "b")))
    assert "audit: stale, in hand: an invalidation of it is not planned yet" in out.getvalue()


async def test_the_last_run_is_named_with_its_own_time(database: Database) -> None:
    """Even if it has produced the content of an earlier run."""
    world = await World.made(database, source("a"), job("b", "a"))
    await world.changed("a", DAY)
    await world.run(b="same")
    first = await explained(world, "b")
    await world.changed("a", DAY)
    await world.run(b="same")
    again = await explained(world, "b")
    assert (first.is_unchanged, again.is_unchanged) == (False, True)
    assert again.materialized_at == first.materialized_at
    assert again.task_id != first.task_id
    assert first.completed_at is not None
    assert again.completed_at is not None
    assert again.completed_at > first.completed_at
    text = StringIO()
    Console(file=text, width=200).print(partition_tree(again))
    assert f"{again.completed_at:%H:%M:%S} UTC, by b in task" in text.getvalue()
    assert f"unchanged since {first.materialized_at:%Y-%m-%d %H:%M:%S} UTC" in text.getvalue()


async def test_a_failed_task_is_no_decision(database: Database) -> None:
    world = await built(database)
    await world.changed("a", DAY)
    (lease,) = await world.claim()
    async with world.conn() as conn:
        await fail(conn, world.org, lease, "boom", retryable=False)
    view = await explained(world, "b")
    assert (view.verdict, view.has_failed) == ("left", True)
    assert shown(view)[2].startswith("audit: stale, left after a failure: task")


async def test_only_the_newest_changes_without_effect_are_shown(database: Database) -> None:
    world = await built(database)
    for _ in range(5):
        await world.changed("a", DAY, columns=("notes",), reason="correction")
    view = await explained(world, "b")
    lines = shown(view)
    assert len(view.pruned_changes) == 5
    assert sum("not affected by a change of a" in line for line in lines) == 3
    assert lines[-1] == "nor by 2 earlier changes: see --json"
