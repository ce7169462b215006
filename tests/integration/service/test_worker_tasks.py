"""Workers without a connection to the database, confined to their leases."""

from collections.abc import Awaitable, Callable
from dataclasses import replace
from uuid import uuid4

import pytest

from engine.errors import Forbidden, InvalidInput, LeaseLost, UnknownName
from engine.flow.execution.reap import reap
from engine.flow.retention.archive import archive
from engine.model.states import KeyScope, Role
from engine.model.task import Output
from engine.model.task_token import TaskToken
from engine.service.authentication import authenticate, authenticate_task
from engine.service.caller import Caller, Org
from engine.service.commands.api_keys import create_key, revoke_key
from engine.service.commands.tasks import cancel
from engine.service.commands.users import add_user, remove_user, set_user_role
from engine.service.commands.worker_tasks import (
    ClaimedTask,
    claim_tasks,
    complete_task,
    extend_task,
    fail_task,
)
from engine.service.queries.attempts import task_log
from engine.store.database import Database
from engine.store.orgs import ensure_org
from tests.support.workers import sql_job
from tests.support.worlds import World, job, source

DAY, NEXT = "2013-02-13", "2013-02-14"
EXTERNAL = {"runtime": "external"}


@pytest.fixture
async def world(database: Database) -> World:
    world = await World.made(database, source("a"), job("b", "a", **EXTERNAL), job("c", "b"))
    await world.changed("a", DAY)
    return world


async def claimed(world: World, **more: object) -> ClaimedTask:
    (task,) = await claim_tasks(world.caller, world.service, "w", **more)  # type: ignore[arg-type]
    return task


def token_of(task: ClaimedTask) -> TaskToken:
    token = TaskToken.parse(task.token)
    assert token is not None
    return token


def holder(token: TaskToken) -> Caller:
    return Caller.worker(token, "test")


async def status_of(world: World, task: ClaimedTask) -> str:
    (row,) = await world.rows("SELECT status FROM all_tasks WHERE id = %s", task.id)
    return str(row["status"])


async def test_a_task_is_claimed_extended_and_completed(world: World) -> None:
    task = await claimed(world)
    assert (task.dag, task.job, [*task.partitions], task.attempt) == ("w", "b", [DAY], 1)
    assert [*task.inputs["a"].partitions] == [DAY]
    assert [output.dataset for output in task.outputs] == ["b"]
    assert await claim_tasks(world.caller, world.service, "w") == []
    extended = await extend_task(holder(token_of(task)), world.service, "half done")
    assert extended.expires_at > task.expires_at
    await complete_task(
        holder(token_of(task)), world.service, [Output("b", DAY, "f1", row_count=3)], log="done"
    )
    (attempt,) = (await task_log(world.caller, world.service, str(task.id))).attempts
    assert (attempt.worker_id, attempt.log) == ("w", "done")
    assert await world.run() == [f"c[{DAY}]"]


async def test_a_failed_attempt_is_repeated(world: World) -> None:
    task = await claimed(world)
    await fail_task(holder(token_of(task)), world.service, "it broke", log="why")
    assert await status_of(world, task) == "queued"
    with pytest.raises(LeaseLost):
        await fail_task(holder(token_of(task)), world.service, "again")


async def test_an_error_without_retry_is_final(world: World) -> None:
    task = await claimed(world)
    await fail_task(holder(token_of(task)), world.service, "never", retryable=False)
    assert await status_of(world, task) == "failed"


async def test_outputs_beyond_the_lease_are_rejected(world: World) -> None:
    token = token_of(await claimed(world))
    for output, error in (
        (Output("b", NEXT), InvalidInput),
        (Output("c", DAY), InvalidInput),
        (Output("b", "no day"), InvalidInput),
    ):
        with pytest.raises(error):
            await complete_task(holder(token), world.service, [output])
    with pytest.raises(InvalidInput, match="does not follow dataset 'a'"):
        await complete_task(holder(token), world.service, cursors={"a": "5"})
    await complete_task(holder(token), world.service, [Output("b", DAY)])


async def test_a_forged_token_is_a_lost_lease(world: World) -> None:
    token = token_of(await claimed(world))
    async with world.database.connection() as conn:
        other = await ensure_org(conn, "other")
    for forged in (
        replace(token, lease_token=uuid4()),
        replace(token, task_id=uuid4()),
        replace(token, org_id=other),
        replace(token, org_id=uuid4()),
    ):
        with pytest.raises(LeaseLost):
            await extend_task(holder(forged), world.service)
        with pytest.raises(LeaseLost):
            await complete_task(holder(forged), world.service, [Output("b", DAY)])
        with pytest.raises(LeaseLost):
            await fail_task(holder(forged), world.service, "x")
    await complete_task(holder(token), world.service, [Output("b", DAY)])


async def test_a_canceled_or_expired_task_is_lost(world: World) -> None:
    task = await claimed(world)
    await cancel(world.caller, world.service, [str(task.id)])
    with pytest.raises(LeaseLost):
        await complete_task(holder(token_of(task)), world.service, [Output("b", DAY)])
    await world.changed("a", NEXT)
    task = await claimed(world)
    await world.rows("UPDATE tasks SET lease_expires_at = now() WHERE id = %s RETURNING 1", task.id)
    async with world.database.connection() as conn:
        assert await reap(conn, world.org) == 1
    with pytest.raises(LeaseLost):
        await extend_task(holder(token_of(task)), world.service)


async def test_a_deploy_during_the_run_changes_no_versions(world: World) -> None:
    task = await claimed(world)
    (before,) = await world.rows("SELECT dataset_version FROM current_datasets WHERE name = 'b'")
    await world.deploy(source("a"), job("b", "a", **EXTERNAL, config={"x": 1}), job("c", "b"))
    try:
        await complete_task(holder(token_of(task)), world.service, [Output("b", DAY, "f")])
    except LeaseLost:
        return  # the deploy has canceled the run
    rows = await world.rows(
        "SELECT dataset_version, config_hash FROM partition_versions WHERE task_id = %s", task.id
    )
    assert [row["dataset_version"] for row in rows] == [before["dataset_version"]]


async def test_sql_jobs_run_at_the_database_only(database: Database) -> None:
    shell = job("s", "a", operator="shell", config={"command": "true"})
    world = await World.made(database, source("a"), sql_job("b", "a", sql="SELECT 1 AS x"), shell)
    await world.changed("a", DAY)
    local = {"runtimes": ["local"], "limit": 10}
    tasks = await claim_tasks(world.caller, world.service, "w", **local)
    assert [task.job for task in tasks] == ["s"]
    assert await claim_tasks(world.caller, world.service, "w", jobs=["b"], **local) == []
    with pytest.raises(UnknownName):
        await claim_tasks(world.caller, world.service, "w", jobs=["zzz"])


async def test_claims_have_limits_and_need_the_scope(world: World) -> None:
    for wrong in ({"limit": 0}, {"limit": 101}, {"lease_seconds": 1}, {"lease_seconds": 10**6}):
        with pytest.raises(InvalidInput):
            await claim_tasks(world.caller, world.service, "w", **wrong)
    with pytest.raises(InvalidInput, match="name of a worker"):
        await claim_tasks(world.caller, world.service, "")
    reader = Caller(world.caller.org, "r", Role.READER)
    ingest = Caller(world.caller.org, "r", Role.WRITER, scopes=frozenset({KeyScope.INGEST}))
    for caller in (reader, ingest):
        with pytest.raises(Forbidden):
            await claim_tasks(caller, world.service, "w")
    worker = Caller(world.caller.org, "r", Role.WRITER, scopes=frozenset({KeyScope.WORKER}))
    assert len(await claim_tasks(worker, world.service, "w")) == 1


async def test_terms_of_ended_attempts_are_removed(world: World) -> None:
    task = await claimed(world)
    async with world.database.connection() as conn:
        await archive(conn, world.org, 0.0)
        assert len(await world.rows("SELECT 1 FROM worker_leases")) == 1
        await complete_task(holder(token_of(task)), world.service, [Output("b", DAY)])
        await archive(conn, world.org, 0.0)
    assert await world.rows("SELECT 1 FROM worker_leases") == []


async def test_a_token_permits_nothing_else(world: World) -> None:
    caller = holder(token_of(await claimed(world)))
    with pytest.raises(Forbidden, match="yours has none"):
        await claim_tasks(caller, world.service, "w")
    with pytest.raises(Forbidden):
        await task_log(caller, world.service, str(uuid4()))
    with pytest.raises(Forbidden, match="requires the token of a claimed task"):
        await complete_task(world.caller, world.service)


async def test_another_org_cannot_claim_the_task(world: World) -> None:
    async with world.database.connection() as conn:
        other = await ensure_org(conn, "other")
    stranger = Caller.local(Org(other, "other"))
    assert await claim_tasks(stranger, world.service, "w", limit=100) == []


@pytest.mark.parametrize(
    "outputs",
    [
        [Output("b", DAY, "f1"), Output("b", DAY, "f2")],
        [Output("b", DAY, row_count=-1)],
        [Output("b", DAY, row_count=2**63)],
        [Output("b", DAY, bytes=10**30)],
    ],
)
async def test_impossible_reports_are_rejected(world: World, outputs: list[Output]) -> None:
    caller = holder(token_of(await claimed(world)))
    with pytest.raises(InvalidInput):
        await complete_task(caller, world.service, outputs)
    await complete_task(caller, world.service, [Output("b", DAY, row_count=2**63 - 1)])


async def test_names_of_workers_are_printable(world: World) -> None:
    with pytest.raises(InvalidInput, match="printable"):
        await claim_tasks(world.caller, world.service, "\x1b[2J")


ANN = "ann@example.com"


async def revoke(world: World, prefix: str) -> None:
    await revoke_key(world.caller, world.service, prefix)


async def expire(world: World, prefix: str) -> None:
    await world.rows(
        "UPDATE api_keys SET expires_at = now() - interval '1 s' WHERE prefix = %s RETURNING 1",
        prefix,
    )


async def demote(world: World, _: str) -> None:
    await set_user_role(world.caller, world.service, ANN, Role.READER)


async def remove(world: World, _: str) -> None:
    await remove_user(world.caller, world.service, ANN)


@pytest.mark.parametrize("end", [revoke, expire, demote, remove])
async def test_a_lease_ends_with_the_key_of_its_claim(
    world: World, end: Callable[[World, str], Awaitable[None]]
) -> None:
    await add_user(world.caller, world.service, ANN, Role.WRITER)
    scopes = [KeyScope.WORKER]
    created = await create_key(world.caller, world.service, ANN, "w", scopes, seconds=60)
    worker = await authenticate(world.service, created.key, "test")
    (task,) = await claim_tasks(worker, world.service, "w")
    await extend_task(holder(token_of(task)), world.service)
    await end(world, created.prefix)
    with pytest.raises(LeaseLost):
        await authenticate_task(world.service, task.token, "test")
    for report in (
        extend_task(holder(token_of(task)), world.service),
        complete_task(holder(token_of(task)), world.service, [Output("b", DAY)]),
        fail_task(holder(token_of(task)), world.service, "x"),
    ):
        with pytest.raises(LeaseLost, match="key of the claim is not valid any more"):
            await report
    assert await status_of(world, task) == "running"  # until the lease expires


async def test_leases_of_a_removed_org_are_removed(world: World) -> None:
    await claimed(world)
    assert await world.rows("SELECT task_id FROM worker_leases")
    await world.rows("DELETE FROM dag_current_versions RETURNING 1")
    await world.rows("DELETE FROM orgs WHERE id = %s RETURNING 1", world.org.id)
    assert not await world.rows("SELECT task_id FROM worker_leases")
