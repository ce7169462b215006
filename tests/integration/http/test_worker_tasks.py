"""Workers over HTTP."""

import asyncio
import time
from typing import Any
from uuid import UUID, uuid4

import pytest

from engine.flow.execution.reap import reap
from engine.model.states import KeyScope
from engine.model.task_token import TaskToken
from engine.service.commands.api_keys import revoke_key
from engine.service.commands.tasks import cancel
from tests.integration.http.conftest import DAY, OTHER, Site, key_for
from tests.integration.http.test_problems import problem_of
from tests.support.worlds import job, source

WANTED = {"worker": "w", "runtimes": ["external"]}


@pytest.fixture
async def site(site: Site) -> Site:
    """Both orgs with an external job; the key ``worker`` has the scope only."""
    await site.world.deploy(source("a"), job("b", "a", runtime="external"), job("c", "b"))
    await site.other.deploy(
        source("theirs"), job("t", "theirs", runtime="external"), dag="their_dag"
    )
    for prefix, world in (("", site.world), ("other.", site.other)):
        key = await key_for(world, "writer@example.com", KeyScope.WORKER)
        site.keys[prefix + "worker"] = key
    return site


async def claim(site: Site, who: str = "worker", **more: Any) -> list[dict[str, Any]]:
    tasks: list[dict[str, Any]] = (await site.post("/tasks/claim", WANTED | more, who))["tasks"]
    return tasks


async def claimed(site: Site, who: str = "worker") -> dict[str, Any]:
    world, dataset = (site.other, "theirs") if "other" in who else (site.world, "a")
    await world.changed(dataset, DAY)
    (task,) = await claim(site, who)
    return task


async def report(
    site: Site, task: dict[str, Any], action: str, body: Any = None, **more: Any
) -> Any:
    async with site.client_of(more.get("token", task["token"])) as client:
        return await client.post(f"/tasks/{task['id']}/{action}", json=body)


async def test_a_task_is_claimed_extended_and_completed(site: Site) -> None:
    task = await claimed(site)
    assert (task["job"], task["partitions"], task["attempt"]) == ("b", [DAY], 1)
    assert await claim(site) == []
    extended = await report(site, task, "heartbeat", {"log": "half\0 \x1b[31m"})
    assert extended.json()["expires_at"] > task["expires_at"]
    assert (await report(site, task, "heartbeat")).status_code == 200
    output = {"dataset": "b", "partition": DAY, "fingerprint": "f\0", "row_count": 3}
    done = await report(site, task, "complete", {"outputs": [output], "log": "a\0b"})
    assert done.json() == {"task": task["id"]}
    problem_of(await report(site, task, "complete", {}), 409, "lease_lost")
    attempts = (await site.get(f"/tasks/{task['id']}/attempts"))["attempts"]
    assert [(each["worker_id"], each["log"]) for each in attempts] == [
        ("w", "a\N{SYMBOL FOR NULL}b")
    ]
    assert await site.world.run() == [f"c[{DAY}]"]


async def test_a_failure_is_recorded(site: Site) -> None:
    task = await claimed(site)
    body = {"error": "it\0 broke", "retryable": False, "log": "\0"}
    assert (await report(site, task, "fail", body)).status_code == 200
    shown = await site.get(f"/tasks/{task['id']}")
    assert "failed" in str(shown)


@pytest.mark.parametrize("action", ["heartbeat", "complete", "fail"])
async def test_tokens_that_hold_no_lease(site: Site, action: str) -> None:
    task, theirs = await claimed(site), await claimed(site, "other.worker")
    token = TaskToken.parse(task["token"])
    assert token is not None
    body = {"error": "x"} if action == "fail" else {}
    forged = TaskToken(token.org_id, token.task_id, uuid4())
    elsewhere = TaskToken(site.other.org.id, token.task_id, token.lease_token)
    nowhere = TaskToken(uuid4(), token.task_id, token.lease_token)
    answers = [
        await report(site, task, action, body, token=str(each))
        for each in (forged, elsewhere, nowhere)
    ]
    assert len({(each.status_code, each.text) for each in answers}) == 1
    problem_of(answers[0], 409, "lease_lost")
    problem_of(await report(site, task, action, body, token=theirs["token"]), 403, "forbidden")
    malformed = await report(site, task, action, body, token="kt_1")
    problem_of(malformed, 401, "unauthenticated")
    for who in ("admin", "worker"):
        response = await report(site, task, action, body, token=site.keys[who])
        problem_of(response, 403, "forbidden")
    assert (await report(site, task, "heartbeat")).status_code == 200
    await cancel(site.world.caller, site.world.service, [task["id"]])
    problem_of(await report(site, task, action, body), 409, "lease_lost")


async def test_an_expired_lease_is_valid_until_it_is_reaped(site: Site) -> None:
    task = await claimed(site)
    await site.world.rows(
        "UPDATE tasks SET lease_expires_at = now() WHERE id = %s RETURNING id", UUID(task["id"])
    )
    assert (await report(site, task, "heartbeat", {"log": "late"})).status_code == 200
    await site.world.rows(
        "UPDATE tasks SET lease_expires_at = now() WHERE id = %s RETURNING id", UUID(task["id"])
    )
    async with site.world.conn() as conn:
        assert await reap(conn, site.world.org) == 1
    problem_of(await report(site, task, "heartbeat"), 409, "lease_lost")


async def test_a_token_permits_nothing_else(site: Site) -> None:
    task = await claimed(site)
    async with site.client_of(task["token"]) as client:
        for path in ("/me", "/tasks", f"/tasks/{task['id']}", "/nothing", "/events/stream"):
            problem_of(await client.get(path), 403, "forbidden")
        for path in ("/tasks/claim", "/sources/in", "/lineage", f"/tasks/{task['id']}/cancel"):
            problem_of(await client.post(path, json={}), 403, "forbidden")


async def test_a_lost_lease_is_detected_before_the_body_is_read(site: Site) -> None:
    task = await claimed(site)
    await report(site, task, "complete", {})
    async with site.client_of(task["token"]) as client:
        response = await client.post(f"/tasks/{task['id']}/complete", content=b"{")
    problem_of(response, 409, "lease_lost")


async def test_outputs_beyond_the_lease_are_rejected(site: Site) -> None:
    task = await claimed(site)
    for output in (
        {"dataset": "b", "partition": OTHER},
        {"dataset": "c", "partition": DAY},
        {"dataset": "theirs", "partition": DAY},
        {"dataset": "b", "partition": DAY, "row_count": -1},
        {"dataset": "b", "partition": DAY, "row_count": 2**63},
        {"dataset": "b", "partition": DAY, "unknown": 1},
        {"dataset": "b", "partition": DAY, "fingerprint": "x" * 5_000},
        {"dataset": "\0", "partition": "\0"},
    ):
        response = await report(site, task, "complete", {"outputs": [output]})
        assert response.status_code in (404, 422), (output, response.text)
    assert (await report(site, task, "complete", {})).status_code == 200


async def test_tasks_of_another_org_are_not_claimed(site: Site) -> None:
    await site.other.changed("theirs", DAY)
    assert await claim(site) == []
    assert len(await claim(site, "other.worker")) == 1


async def test_a_claim_waits_until_there_is_a_task(site: Site) -> None:
    began = time.monotonic()
    assert await claim(site, wait=0.3) == []
    assert time.monotonic() - began >= 0.3
    waiting = [asyncio.create_task(claim(site, wait=20)) for _ in range(3)]
    await asyncio.sleep(0.5)
    assert not any(task.done() for task in waiting)
    began = time.monotonic()
    await site.world.changed("a", DAY)
    done, _ = await asyncio.wait(waiting, timeout=10, return_when=asyncio.FIRST_COMPLETED)
    assert time.monotonic() - began < 1.5  # earlier than by polling
    assert [len(task.result()) for task in done] == [1]
    for task in waiting:
        task.cancel()


async def test_a_client_that_is_gone_claims_nothing(site: Site) -> None:
    waiting = asyncio.create_task(claim(site, wait=20))
    await asyncio.sleep(0.5)
    waiting.cancel()
    await asyncio.sleep(0.2)
    await site.world.changed("a", DAY)
    await asyncio.sleep(0.5)
    assert len(await claim(site)) == 1


async def test_a_waiting_claim_ends_with_its_key(site: Site) -> None:
    async with site.client("worker") as client:
        waiting = asyncio.create_task(client.post("/tasks/claim", json=WANTED | {"wait": 20}))
        await asyncio.sleep(0.5)
        prefix = site.keys["worker"].split("_")[1]
        await revoke_key(site.world.caller, site.world.service, prefix)
        await site.world.changed("a", DAY)
        problem_of(await waiting, 401, "unauthenticated")


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"worker": ""},
        {"worker": "w", "limit": 0},
        {"worker": "w", "limit": 101},
        {"worker": "w", "lease_seconds": 1},
        {"worker": "w", "wait": 31},
        {"worker": "w", "wait": -1},
        {"worker": "w", "runtimes": []},
        {"worker": "w", "jobs": ["x"] * 100_000},
        {"worker": "w", "more": 1},
    ],
)
async def test_impossible_claims_are_rejected(site: Site, body: Any) -> None:
    async with site.client("worker") as client:
        problem_of(await client.post("/tasks/claim", json=body), 422, "invalid_input")


async def test_a_reader_may_not_claim(site: Site) -> None:
    key = await key_for(site.world, "reader@example.com", KeyScope.WORKER)
    async with site.client_of(key) as client:
        problem_of(await client.post("/tasks/claim", json=WANTED), 403, "forbidden")
