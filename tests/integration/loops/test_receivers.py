"""Alertmanager and Apprise as receivers of notifications."""

from collections.abc import AsyncIterator
from datetime import datetime
from typing import Any

import pytest

from engine.errors import InvalidInput
from engine.flow.retention.publish import publish
from engine.loops.notifier import Notifier
from engine.model.states import AWAITED_KINDS, EventKind, Receiver
from engine.outgoing import Networks
from engine.service.commands.orgs import set_blast_radius
from engine.service.commands.plans import approve, reject
from engine.service.commands.tasks import cancel, retry
from engine.service.commands.webhooks import AddedWebhook, add_webhook, remove_webhook
from engine.service.queries.identity import access_changes
from engine.service.queries.webhooks import webhooks
from engine.service.service import Service
from engine.store.database import Database
from tests.support.receiver import HttpReceiver, receiving
from tests.support.worlds import World, job, source

pytestmark = pytest.mark.filterwarnings("ignore:'imghdr' is deprecated:DeprecationWarning")

DAY = "2013-02-13"
SLACK = "slack://T1JJ3T3L2/A1BRTD4JD/TIiajkdnlazkcOXrIdevi7FQ"


@pytest.fixture
async def receiver() -> AsyncIterator[HttpReceiver]:
    async with receiving() as each:
        yield each


@pytest.fixture
async def world(database: Database) -> World:
    return await World.made(database, source("a"), job("b", "a"))


async def added(
    world: World,
    url: str,
    to: Receiver,
    *kinds: EventKind,
    networks: Networks = "any",
) -> AddedWebhook:
    await published(world)
    service = Service(world.database, webhook_networks=networks)
    return await add_webhook(world.caller, service, "ops", url, kinds or AWAITED_KINDS, to)


async def published(world: World) -> None:
    async with world.database.connection() as conn:
        while await publish(conn):
            pass


async def delivered(world: World, networks: Networks = "any") -> bool:
    await published(world)
    return await Notifier(world.database, world.org, networks).deliver()


async def failed_task(world: World) -> str:
    await world.changed("a", DAY)
    (row,) = await world.rows(
        "UPDATE tasks SET status = 'failed', error_message = 'no disk' WHERE status = 'queued' "
        "RETURNING id::text"
    )
    return str(row["id"])


def alerts(receiver: HttpReceiver) -> list[dict[str, Any]]:
    return [alert for body in receiver.bodies for alert in body]


def moment(alert: dict[str, Any], name: str) -> datetime:
    return datetime.fromisoformat(alert[name])


@pytest.mark.parametrize("action", [retry, cancel])
async def test_an_alert_ends_with_its_cause(
    world: World, receiver: HttpReceiver, action: Any
) -> None:
    assert (await added(world, receiver.address, Receiver.ALERTMANAGER)).secret is None
    task = await failed_task(world)
    assert await delivered(world)
    assert receiver.paths == ["api/v2/alerts"]
    (begun,) = alerts(receiver)
    assert begun["labels"] == {
        "alertname": "KnockonTaskFailed",
        "org": "default",
        "id": task,
        "dag": "w",
        "job": "b",
    }
    assert begun["annotations"]["summary"] == "a task failed for good: w.b"
    assert "error: no disk" in begun["annotations"]["description"]
    assert (moment(begun, "endsAt") - moment(begun, "startsAt")).days == 30
    await action(world.caller, world.service, [task])
    await delivered(world)
    _, ended = alerts(receiver)
    assert ended["labels"] == begun["labels"]
    assert moment(begun, "startsAt") < moment(ended, "endsAt") < moment(begun, "endsAt")
    assert "startsAt" not in ended


@pytest.mark.parametrize("decide", [approve, reject])
async def test_an_alert_of_a_plan_ends_with_the_decision(
    world: World, receiver: HttpReceiver, decide: Any
) -> None:
    url = f"{receiver.address}/monitoring/"
    await added(world, url, Receiver.ALERTMANAGER, EventKind.PLAN_PENDING_APPROVAL)
    await failed_task(world)
    await set_blast_radius(world.caller, world.service, 1)
    await world.changed("a", "2013-03-01..2013-03-05")
    (plan,) = await world.rows("SELECT id::text FROM plans WHERE state = 'pending_approval'")
    person = world.caller.local(world.caller.org, "ann")
    await decide(person, world.service, [plan["id"]])
    while await delivered(world):
        pass
    begun, ended = alerts(receiver)
    assert begun["labels"] == ended["labels"]
    assert (begun["labels"]["alertname"], begun["labels"]["id"]) == (
        "KnockonPlanPendingApproval",
        plan["id"],
    )
    assert {*receiver.paths} == {"monitoring/api/v2/alerts"}


async def test_an_alert_without_a_known_end_lasts_a_day(
    world: World, receiver: HttpReceiver
) -> None:
    await added(world, receiver.address, Receiver.ALERTMANAGER)
    await world.rows(
        "INSERT INTO dead_letters (id, org_id, consumer, stream, position, payload, headers, error)"
        " VALUES (gen_random_uuid(), %s, 'c', 'kafka/t/0', '1', 'x', '{}', 'no JSON') RETURNING id",
        world.org.id,
    )
    await delivered(world)
    (alert,) = alerts(receiver)
    assert alert["labels"]["alertname"] == "KnockonDeadLetter"
    assert (moment(alert, "endsAt") - moment(alert, "startsAt")).days == 1


async def test_plans_without_a_decision_send_nothing(world: World, receiver: HttpReceiver) -> None:
    await added(world, receiver.address, Receiver.ALERTMANAGER)
    await world.changed("a", DAY)
    await world.run()
    while await delivered(world):
        pass
    assert receiver.requests == []
    assert not await delivered(world)


async def test_an_alert_that_is_not_accepted_is_repeated(
    world: World, receiver: HttpReceiver
) -> None:
    await added(world, receiver.address, Receiver.ALERTMANAGER)
    receiver.statuses = [500]
    await failed_task(world)
    assert not await delivered(world)
    (row,) = await webhooks(world.caller, world.service)
    assert (row.receiver, row.last_error) == ("alertmanager", "the response has status 500")
    await world.rows("UPDATE webhooks SET next_attempt_at = now() RETURNING 1")
    await delivered(world)
    first, second = alerts(receiver)
    assert first == second


async def test_only_causes_are_alerts(world: World, receiver: HttpReceiver) -> None:
    with pytest.raises(InvalidInput, match=r"task\.succeeded is not a cause for an alert"):
        await added(world, receiver.address, Receiver.ALERTMANAGER, EventKind.TASK_SUCCEEDED)


@pytest.mark.parametrize("url", ["http://localhost:9093", "https://user:pw@example.com", "ftp://x"])
async def test_an_alertmanager_has_the_url_of_a_webhook(world: World, url: str) -> None:
    with pytest.raises(InvalidInput):
        await added(world, url, Receiver.ALERTMANAGER, networks="public")


async def test_apprise_sends_texts(world: World, receiver: HttpReceiver) -> None:
    url = receiver.url.replace("http://", "json://")
    assert (await added(world, url, Receiver.APPRISE)).secret is None
    task = await failed_task(world)
    assert await delivered(world)
    (body,) = receiver.bodies
    assert body["title"] == "a task failed for good: w.b"
    for line in (f"id: {task}", "error: no disk", "org: default"):
        assert line in body["message"].splitlines()
    assert not await delivered(world)


async def test_a_service_that_refuses_is_tried_again(world: World, receiver: HttpReceiver) -> None:
    await added(world, receiver.url.replace("http://", "json://"), Receiver.APPRISE)
    receiver.statuses = [302]
    await failed_task(world)
    assert not await delivered(world)
    (row,) = await webhooks(world.caller, world.service)
    assert row.last_error == "json://… does not accept the notification"
    assert receiver.paths == ["hook"]  # the redirect is not followed
    await world.rows("UPDATE webhooks SET next_attempt_at = now() RETURNING 1")
    assert await delivered(world)


async def test_the_networks_of_the_engine_count(world: World, receiver: HttpReceiver) -> None:
    await added(world, receiver.url.replace("http://", "json://"), Receiver.APPRISE)
    await failed_task(world)
    assert not await delivered(world, "public")
    assert receiver.requests == []


async def test_secrets_in_urls_are_not_shown(world: World) -> None:
    await added(world, SLACK, Receiver.APPRISE, networks="public")
    (row,) = await webhooks(world.caller, world.service)
    assert row.url == "slack://…"
    await remove_webhook(world.caller, world.service, "ops")
    changes = await access_changes(world.caller, world.service)
    assert "TIiajkdnlazkcOXrIdevi7FQ" not in repr(changes)
    assert repr(changes).count("slack://…") == 2


async def test_other_urls_for_apprise_are_refused(world: World) -> None:
    for url in ("json://localhost", "file:///etc/passwd", f"{SLACK}?template=/etc/passwd"):
        with pytest.raises(InvalidInput):
            await added(world, url, Receiver.APPRISE, networks="public")
    assert await webhooks(world.caller, world.service) == []
