"""Events reach webhooks: signed, in order, at least once, and none holds up another."""

import asyncio
import json
import time
from collections.abc import AsyncIterator
from typing import Any

import pytest

from consumers.http import keys_of, verify
from engine.errors import Forbidden, InvalidInput, ServiceUnavailable
from engine.flow.retention.publish import publish
from engine.loops.notifier import Notifier
from engine.model.states import EventKind
from engine.outgoing import check_url, post
from engine.service.commands.webhooks import add_webhook, remove_webhook
from engine.service.queries.webhooks import webhooks
from engine.service.service import Service
from engine.store.database import Database
from tests.support.receiver import HttpReceiver, receiving
from tests.support.worlds import World, job, source

DAY = "2013-02-13"
ALL_KINDS = tuple(EventKind)


@pytest.fixture
async def receiver() -> AsyncIterator[HttpReceiver]:
    async with receiving() as each:
        yield each


@pytest.fixture
async def world(database: Database) -> World:
    return await World.made(database, source("a"), job("b", "a"), job("c", "b"))


async def added(world: World, url: str, name: str = "ops", *kinds: EventKind) -> str:
    await published(world)
    service = Service(world.database, webhook_networks="any")
    made = await add_webhook(world.caller, service, name, url, kinds or ALL_KINDS)
    return made.secret


async def published(world: World) -> None:
    async with world.database.connection() as conn:
        while await publish(conn):
            pass


async def delivered(world: World, **more: Any) -> bool:
    await published(world)
    return await Notifier(world.database, world.org, "any").deliver()


async def due_again(world: World) -> None:
    await world.rows("UPDATE webhooks SET next_attempt_at = now() RETURNING 1")


async def test_events_are_signed_and_sent_in_order(world: World, receiver: HttpReceiver) -> None:
    secret = await added(world, receiver.url)
    await world.changed("a", DAY)
    await world.run()
    assert await delivered(world)
    assert receiver.kinds[:2] == ["invalidation.recorded", "plan.applied"]
    assert receiver.kinds.count("task.succeeded") == 2
    assert len({*receiver.ids}) == len(receiver.ids)
    for headers, body in receiver.requests:
        verify(keys_of(secret), headers, body, time.time())
        with pytest.raises(Forbidden):
            verify(keys_of(secret), headers, body + b" ", time.time())
    positions = [json.loads(body)["data"]["position"] for _, body in receiver.requests]
    assert positions == sorted(positions)
    assert not await delivered(world)
    assert len(receiver.requests) == len(positions)


async def test_only_chosen_kinds_from_now_on_are_sent(world: World, receiver: HttpReceiver) -> None:
    await world.changed("a", DAY)
    await added(world, receiver.url, "ops", EventKind.PLAN_APPLIED)
    assert not await delivered(world)
    await world.changed("a", DAY)
    await delivered(world)
    assert receiver.kinds == ["plan.applied"]


async def test_a_failed_delivery_is_repeated_with_the_same_id(
    world: World, receiver: HttpReceiver
) -> None:
    await added(world, receiver.url, "ops", EventKind.PLAN_APPLIED)
    for _ in range(2):
        await world.changed("a", DAY)
    receiver.statuses = [500, 302]
    for failures in (1, 2):
        assert not await delivered(world)
        (row,) = await webhooks(world.caller, world.service)
        assert (row.failures, row.delivered_at) == (failures, None)
        assert not await delivered(world)  # not before the pause is over
        await due_again(world)
    assert row.last_error == "the response has status 302"
    await delivered(world)
    first, second, third, fourth = receiver.ids
    assert first == second == third != fourth
    (row,) = await webhooks(world.caller, world.service)
    assert (row.failures, row.last_error) == (0, None)


async def test_a_dead_webhook_holds_up_no_other(world: World, receiver: HttpReceiver) -> None:
    await added(world, "http://127.0.0.1:1/none", "dead", EventKind.PLAN_APPLIED)
    await added(world, receiver.url, "live", EventKind.PLAN_APPLIED)
    await world.changed("a", DAY)
    assert await delivered(world)
    assert receiver.kinds == ["plan.applied"]
    dead, live = await webhooks(world.caller, world.service)
    assert (dead.failures, live.failures) == (1, 0)
    assert "does not answer" in (dead.last_error or "")


async def test_several_engines_send_an_event_once(world: World, receiver: HttpReceiver) -> None:
    await added(world, receiver.url, "ops", EventKind.PLAN_APPLIED)
    await world.changed("a", DAY)
    await published(world)
    engines = [Notifier(world.database, world.org, "any") for _ in range(4)]
    await asyncio.gather(*(engine.deliver() for engine in engines))
    assert receiver.kinds == ["plan.applied"]


async def test_an_invalidation_set_aside_is_an_event(world: World, receiver: HttpReceiver) -> None:
    await added(world, receiver.url, "ops", EventKind.INVALIDATION_SET_ASIDE)
    await world.rows(
        "INSERT INTO data_invalidations (id, org_id, dataset_uuid, dataset_version, scope,"
        " partition_key, reason) SELECT gen_random_uuid(), org_id, dataset_uuid, dataset_version,"
        " 'partition', 'no day', 'manual' FROM current_datasets WHERE name = 'a' RETURNING id"
    )
    await world.plan()
    await delivered(world)
    ((_, body),) = receiver.requests
    data = json.loads(body)["data"]
    assert data["detail"]["dataset"] == "a"
    assert data["detail"]["partition"] == "no day"
    assert "malformed" in data["detail"]["error"]


async def test_lost_partitions_are_an_event(world: World, receiver: HttpReceiver) -> None:
    from engine.flow.planning.audit import audit_all

    await added(world, receiver.url, "ops", EventKind.PARTITION_LOST)
    await world.changed("a", DAY)
    await world.run()
    await world.changed("a", DAY)
    await world.rows("DELETE FROM tasks WHERE status IN ('queued', 'blocked') RETURNING id")
    async with world.database.connection() as conn:
        await audit_all(conn, world.org, mend=True)
    await delivered(world)
    details = [json.loads(body)["data"]["detail"] for _, body in receiver.requests]
    assert {"dataset": "b", "partitions": [DAY], "count": 1} in details


async def test_a_removed_webhook_gets_nothing(world: World, receiver: HttpReceiver) -> None:
    await added(world, receiver.url)
    with pytest.raises(InvalidInput, match="there is a webhook 'ops'"):
        await added(world, receiver.url)
    await remove_webhook(world.caller, world.service, "ops")
    await world.changed("a", DAY)
    assert not await delivered(world)
    assert receiver.requests == []


@pytest.mark.parametrize(
    "url",
    [
        "http://example.com/x",
        "ftp://example.com",
        "https://",
        "https://user:pw@example.com/",
        "https://example.com/a b",
        "https://example.com/\r\nx: y",
        "https://example.com:99999/",
        "https://exämple.com/",
        "//example.com",
        "x" * 10,
        "https://example.com/" + "x" * 3000,
    ],
)
def test_other_urls_are_rejected(url: str) -> None:
    with pytest.raises(InvalidInput):
        check_url(url, "public")


@pytest.mark.parametrize(
    "host",
    [
        "localhost",
        "127.0.0.1",
        "127.1",
        "2130706433",
        "0x7f000001",
        "0.0.0.0",
        "10.0.0.1",
        "169.254.169.254",
        "192.168.1.1",
        "100.64.0.1",
        "[::1]",
        "[::ffff:127.0.0.1]",
        "[fe80::1]",
        "[fd00::1]",
        "[64:ff9b::7f00:1]",
        "[2002:7f00:1::]",
        "224.0.0.1",
    ],
)
async def test_addresses_inside_are_refused(host: str) -> None:
    with pytest.raises((InvalidInput, ServiceUnavailable)) as refused:
        await post(f"https://{host}/", {}, b"", "public")
    assert "which is not public" in str(refused.value) or "does not answer" in str(refused.value)


async def test_a_name_that_leads_inside_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    async def rebinding(*_: Any, **__: Any) -> list[Any]:
        return [(0, 0, 0, "", ("93.184.216.34", 443)), (0, 0, 0, "", ("10.1.2.3", 443))]

    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", rebinding)
    with pytest.raises(InvalidInput, match=r"10\.1\.2\.3, which is not public"):
        await post("https://innocent.example/", {}, b"", "public")
