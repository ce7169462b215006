"""Explanations of tasks: the path from the change to the task, edge by edge."""

from collections.abc import Iterable
from io import StringIO
from uuid import UUID, uuid4

import pytest
from rich.console import Console

from engine.cli.render.explanation import invalidation_text, task_tree
from engine.errors import InvalidInput, UnknownName
from engine.flow.deployment.apply import apply
from engine.flow.deployment.propose import propose
from engine.flow.execution.fail import fail
from engine.flow.ingestion.ingest import ingest
from engine.model.event import Batch, Delivery, Received, SourceEvent
from engine.service.queries.explain_task import ExplainedTask, explain_task
from engine.store.database import Database
from tests.support.worlds import WEEKLY, World, finding_job, job, source

DAY = "2013-02-13"
TRAILING = {"dataset": "b", "mapping": {"dt": {"from": "dt", "window": [-6, 0]}}}


async def explained(world: World, name: str, *statuses: str) -> ExplainedTask:
    task: UUID = (await world.task(name, *statuses))["id"]
    return await explain_task(world.caller, world.service, str(task))


async def test_the_path_lists_every_edge_restricted_to_the_task(database: Database) -> None:
    world = await World.made(
        database, source("a"), job("b", "a"), job("c", "b", partitioning=WEEKLY)
    )
    await world.changed("a", "2013-02-01..2013-02-28", note="late files")
    view = await explained(world, "c[2013-W07]", "blocked")
    (cause,) = view.causes
    assert [(hop.dataset, hop.dirty, hop.job, hop.partitions) for hop in cause.path] == [
        ("a", ("2013-02-11..2013-02-17",), "b", ("2013-02-11..2013-02-17",)),
        ("b", ("2013-02-11..2013-02-17",), "c", ("2013-W07",)),
    ]
    (invalidation,) = cause.invalidations
    assert (invalidation.dataset, invalidation.partition_key, invalidation.reason) == (
        "a",
        "2013-02-01..2013-02-28",
        "change",
    )
    assert invalidation.source_event["event"]["note"] == "late files"


async def test_a_plan_is_not_explained_as_a_task(database: Database) -> None:
    world = await World.made(database, source("a"), job("b", "a"))
    await world.changed("a", DAY)
    (plan, *_) = await world.rows("SELECT id FROM plans")
    with pytest.raises(InvalidInput, match="is a plan, not a task: see 'knockon plans show"):
        await explain_task(world.caller, world.service, str(plan["id"])[-12:])


async def test_a_window_is_followed_backwards(database: Database) -> None:
    world = await World.made(database, source("a"), job("b", "a"), job("t", TRAILING))
    await world.changed("a", "2013-02-01", "2013-02-05", "2013-02-10")
    view = await explained(world, "t[2013-02-11]", "blocked")
    assert view.causes[0].path[-1].dirty == ("2013-02-05", "2013-02-10")


async def test_every_edge_has_its_dirty_columns(database: Database) -> None:
    world = await World.made(
        database,
        source("a"),
        job("b", "a", columns={"y": ["a.x"]}),
        job("c", "b", columns={"z": ["b.y"]}),
    )
    await world.changed("a", DAY, reason="arrival")
    await world.run()
    await world.changed("a", DAY, columns=("x",))
    view = await explained(world, f"c[{DAY}]", "blocked")
    assert [hop.columns for hop in view.causes[0].path] == [("x",), ("y",)]


async def test_an_invalidated_output_is_the_cause_itself(database: Database) -> None:
    world = await World.made(database, source("a"), job("b", "a"))
    await world.changed("b", DAY)
    view = await explained(world, f"b[{DAY}]", "queued")
    (hop,) = view.causes[0].path
    assert (hop.dataset, hop.mapping) == ("b", "itself")


async def test_every_plan_of_the_task_is_a_cause(database: Database) -> None:
    world = await World.made(database, source("a"), source("z"), job("b", "a", "z"))
    await world.changed("a", DAY)
    await world.changed("z", DAY)
    view = await explained(world, f"b[{DAY}]", "queued")
    assert [cause.invalidations[0].dataset for cause in view.causes] == ["z", "a"]


async def test_blockers_and_inputs_of_a_task(database: Database) -> None:
    world = await World.made(database, source("a"), job("b", "a"), job("c", "b"))
    await world.changed("a", DAY)
    waiting = await explained(world, f"c[{DAY}]", "blocked")
    assert [(each.job, each.status) for each in waiting.blockers] == [("b", "queued")]
    await world.run()
    done = await explained(world, f"c[{DAY}]", "succeeded")
    assert list(done.inputs) == [f"b/{DAY}"]
    assert done.task.attempts == 1


async def test_a_failure_shows_its_error(database: Database) -> None:
    world = await World.made(database, source("a"), job("b", "a"))
    await world.changed("a", DAY)
    (lease,) = await world.claim()
    async with world.conn() as conn:
        await fail(conn, world.org, lease, "boom", retryable=False)
    view = await explained(world, f"b[{DAY}]", "failed")
    assert (view.task.error_message, view.task.note) == ("boom", "boom")


async def test_causes_survive_a_deploy(database: Database) -> None:
    jobs = [source("a"), job("b", "a"), job("c", "b")]
    world = await World.made(database, *jobs)
    await world.changed("a", DAY)
    await world.deploy(*jobs, job("new", "a"))
    view = await explained(world, f"c[{DAY}]", "blocked")
    assert [hop.job for hop in view.causes[0].path] == ["b", "c"]


async def test_causes_survive_another_partitioning(database: Database) -> None:
    world = await World.made(database, source("a"), job("b", "a"))
    await world.changed("a", DAY)
    await world.run()
    await world.deploy(source("a", WEEKLY), job("b", "a", partitioning=WEEKLY))
    view = await explained(world, f"b[{DAY}]", "succeeded")
    (hop,) = view.causes[0].path
    assert (hop.dataset, hop.dirty, hop.partitions) == ("a", (DAY,), (DAY,))


async def test_jobs_of_the_same_name_have_their_own_causes(database: Database) -> None:
    other = job("daily", "weekly", partitioning=WEEKLY)
    other["outputs"][0]["dataset"] = "other"
    world = await World.made(database, source("a"), job("weekly", "a", partitioning=WEEKLY))
    jobs = {"first": [job("daily", "a")], "second": [other]}
    for dag, of_dag in jobs.items():
        await world.deploy(*of_dag, dag=dag)
    await world.changed("a", DAY)
    await world.run()
    for _ in range(2):
        view = await explained(world, f"daily[{DAY}]", "succeeded")
        assert [hop.partitions for hop in view.causes[0].path] == [(DAY,)]
        view = await explained(world, "daily[2013-W07]", "succeeded")
        assert [(hop.job, hop.dirty) for hop in view.causes[0].path] == [
            ("weekly", (DAY,)),
            ("daily", ("2013-W07",)),
        ]
        for dag, of_dag in jobs.items():  # the jobs have other ids than in the document
            await world.deploy(*of_dag, job(f"more_{dag}", "a"), dag=dag)


async def test_a_thousand_events_for_one_partition_are_causes_of_one_task(
    database: Database,
) -> None:
    world = await World.made(database, source("a"), job("b", "a"))
    await take(world, ((f"t/{n % 2}", n) for n in range(1_000)))
    planned = await world.plan()
    assert planned is not None
    assert (planned.invalidations, planned.tasks) == (1, 1)
    view = await explained(world, f"b[{DAY}]", "queued")
    (invalidation,) = view.causes[0].invalidations
    assert invalidation.events == invalidation.source_event["count"] == 1_000
    assert invalidation.source_event["ids"] == [f"e{n}" for n in range(50)]
    assert invalidation.source_event["streams"] == {
        "t/0": {"first": "0", "last": "998", "count": 500},
        "t/1": {"first": "1", "last": "999", "count": 500},
    }
    assert "1,000 events, t/0 0..998, t/1 1..999, ids e0, e1, e2, e3 +46 more" in (
        invalidation_text(invalidation).plain
    )


async def test_events_of_many_batches_are_causes_of_one_task(
    database: Database,
) -> None:
    world = await World.made(database, source("a"), job("b", "a"))
    for start in (0, 10, 20):
        await take(world, (("t/0", n) for n in range(start, start + 10)))
    await world.plan()
    view = await explained(world, f"b[{DAY}]", "queued")
    (cause,) = view.causes
    told = [(each.source_event["first"], each.source_event["last"]) for each in cause.invalidations]
    assert told == [("0", "9"), ("10", "19"), ("20", "29")]


async def take(world: World, places: Iterable[tuple[str, int]]) -> None:
    received = tuple(
        Received.one(
            SourceEvent(dataset="a", partitions=(DAY,), id=f"e{n}"), Delivery(stream, str(n))
        )
        for stream, n in places
    )
    async with world.conn() as conn:
        await ingest(conn, world.org, Batch(consumer="k", received=received))


async def test_a_skipped_task_lists_unchanged_blockers(database: Database) -> None:
    world = await World.made(database, source("a"), job("b", "a"), job("c", "b"))
    for _ in range(2):
        await world.changed("a", DAY)
        await world.run(same=["b"])
    view = await explained(world, f"c[{DAY}]", "skipped")
    assert [(each.job, each.block_key, each.outcome) for each in view.blockers] == [
        ("b", DAY, "unchanged")
    ]
    drawn = StringIO()
    Console(width=120, file=drawn).print(task_tree(view))
    assert "skipped: no run changed an input" in drawn.getvalue()
    assert f"b {DAY}  unchanged" in drawn.getvalue()


async def test_an_applied_plan_names_the_person(database: Database) -> None:
    world = await World.made(database, source("a"), job("b", "a"))
    async with world.conn() as conn:
        shown = await propose(conn, world.org, SourceEvent(dataset="a", partitions=(DAY,)))
        await apply(conn, world.org, shown.plan_id, "ann")
    (cause,) = (await explained(world, f"b[{DAY}]", "queued")).causes
    assert (cause.plan_id, cause.decided_by) == (shown.plan_id, "ann")
    assert [hop.job for hop in cause.path] == ["b"]


async def test_the_first_run_of_a_job_that_finds_its_partitions_is_explained(
    database: Database,
) -> None:
    world = await World.made(database, source("a", {}), finding_job("f", "a"))
    await world.changed("a")
    (cause,) = (await explained(world, "f[*]", "queued")).causes
    assert [(hop.dataset, hop.dirty, hop.job, hop.partitions) for hop in cause.path] == [
        ("a", ("*",), "f", ())
    ]


async def test_an_unknown_task_is_rejected(database: Database) -> None:
    world = await World.made(database, source("a"), job("b", "a"))
    with pytest.raises(UnknownName, match="knockon tasks"):
        await explain_task(world.caller, world.service, str(uuid4()))
