"""Streams of events, resumed without a gap."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx2
import msgspec
import pytest

from engine.flow.retention.publish import publish
from engine.http import streams
from engine.http.app import Limits
from engine.service.commands.api_keys import revoke_key
from tests.integration.http.conftest import DAY, OTHER, Site, add_people, serving
from tests.integration.http.test_problems import problem_of
from tests.support.worlds import World

SECONDS = 20


@asynccontextmanager
async def streamed(
    site: Site, who: str = "reader", last: int | None = None, **params: Any
) -> AsyncIterator[AsyncIterator[dict[str, str]]]:
    """The messages of a stream, each with its fields."""
    headers = {} if last is None else {"Last-Event-ID": str(last)}
    async with (
        asyncio.timeout(SECONDS),
        site.client(who, **headers) as client,
        client.stream("GET", "/events/stream", params=params) as response,
    ):
        assert response.status_code == 200, await response.aread()
        assert response.headers["content-type"].startswith("text/event-stream")
        yield messages(response)


async def messages(response: httpx2.Response) -> AsyncIterator[dict[str, str]]:
    fields: dict[str, str] = {}
    async for line in response.aiter_lines():
        if line:
            name, _, value = line.partition(": ")
            fields[name or "comment"] = value
        elif fields:
            yield fields
            fields = {}


async def next_events(stream: AsyncIterator[dict[str, str]], count: int) -> list[dict[str, str]]:
    found: list[dict[str, str]] = []
    async for message in stream:
        if "data" in message:
            found.append(message)
        if len(found) == count:
            break
    return found


async def happen(world: World, *partitions: str) -> None:
    for partition in partitions:
        await world.change("a", partition)
    async with world.conn() as conn:
        await publish(conn)


async def test_a_stream_begins_now(site: Site) -> None:
    await happen(site.world, DAY)
    async with streamed(site) as stream:
        assert "retry" in await anext(stream)
        await happen(site.world, OTHER)
        (event,) = await next_events(stream, 1)
    assert event["event"] == "invalidation.recorded"
    data = msgspec.json.decode(event["data"])
    assert (str(data["position"]), data["kind"]) == (event["id"], event["event"])


async def test_a_stream_resumes_without_a_gap(site: Site) -> None:
    days = [f"2013-01-{number:02d}" for number in range(1, 13)]
    await happen(site.world)
    deploys = (await site.get("/events", after=0))["items"]
    await happen(site.world, *days[:4])
    async with streamed(site, last=0) as stream:
        first = await next_events(stream, 3)
    await happen(site.world, *days[4:8])
    async with streamed(site, last=int(first[-1]["id"])) as stream:
        await happen(site.world, *days[8:])
        rest = await next_events(stream, len(days) + len(deploys) - 3)
    positions = [int(event["id"]) for event in (*first, *rest)]
    listed = (await site.get("/events", after=0))["items"]
    assert positions == [event["position"] for event in listed]


async def test_kinds_are_selected(site: Site) -> None:
    async with streamed(site, kind=["plan.applied"]) as stream:
        await happen(site.world, DAY)
        await site.world.plan()
        await happen(site.world)
        (event,) = await next_events(stream, 1)
    assert event["event"] == "plan.applied"


async def test_other_orgs_are_not_seen(site: Site) -> None:
    await happen(site.world)  # publishes the deploys of both orgs
    async with streamed(site, "other.reader") as stream:
        await happen(site.world, DAY)
        await site.other.change("theirs", DAY)
        await happen(site.other)
        (event,) = await next_events(stream, 1)
    assert "theirs" in event["data"]


async def test_heartbeats_carry_the_position(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    default = streams.EventStream.__init__.__defaults__
    monkeypatch.setattr(streams.EventStream.__init__, "__defaults__", (0.1,))
    assert default is not None
    await happen(site.world, DAY)
    async with streamed(site) as stream:
        async for message in stream:
            if "comment" in message:
                break
    assert message["comment"] == "heartbeat"
    assert int(message["id"]) > 0


async def test_a_revoked_key_ends_its_streams(site: Site) -> None:
    world, key = site.world, site.keys["reader"]
    async with streamed(site) as stream:
        await anext(stream)
        await revoke_key(world.caller, world.service, key.split("_")[1])
        await happen(world, DAY)
        assert [message async for message in stream if "data" in message] == []


async def test_streams_end_with_the_service(worlds: tuple[World, World]) -> None:
    async with serving(*worlds) as site:
        await add_people(site)
        ending = asyncio.create_task(consumed(site))
        await asyncio.sleep(0.5)
    async with asyncio.timeout(5):
        assert await ending == ["retry"]


async def consumed(site: Site) -> list[str]:
    async with streamed(site) as stream:
        return [name async for message in stream for name in message]


async def test_streams_of_a_key_are_limited(worlds: tuple[World, World]) -> None:
    async with serving(*worlds, Limits(streams=1)) as site:
        await add_people(site)
        async with streamed(site) as stream, site.client("reader") as client:
            await anext(stream)
            problem_of(await client.get("/events/stream"), 429, "too_many_requests")
        for _ in range(50):
            await asyncio.sleep(0.1)
            async with (
                site.client("reader") as client,
                client.stream("GET", "/events/stream") as response,
            ):
                if response.status_code == 200:
                    return
        raise AssertionError("the end of the first stream is not noticed")


@pytest.mark.parametrize("last", ["x", "-1", "1e3"])
async def test_a_malformed_position_is_rejected(site: Site, last: str) -> None:
    async with site.client(**{"Last-Event-ID": last}) as client:
        body = problem_of(await client.get("/events/stream"), 422, "invalid_input")
    assert body["errors"][0]["location"] == ["header", "Last-Event-ID"]


async def test_an_expired_position_is_gone(site: Site) -> None:
    await happen(site.world, DAY, OTHER)
    await site.world.rows(
        "INSERT INTO expired_events (org_id, last_position) VALUES (%s, 2) RETURNING 1",
        site.world.org.id,
    )
    async with site.client(**{"Last-Event-ID": "1"}) as client:
        for answer in (
            await client.get("/events/stream"),
            await client.get("/events", params={"after": 1}),
        ):
            body = problem_of(answer, 410, "position_expired")
            assert "continue after 2" in body["detail"]
    async with streamed(site, last=2) as stream:
        (event,) = await next_events(stream, 1)
    assert event["id"] == "3"


async def test_positions_do_not_count_the_events_of_other_orgs(site: Site) -> None:
    await happen(site.world, DAY)
    before = await site.get("/events", who="other.reader")
    await happen(site.world, *(f"2013-03-{number:02d}" for number in range(1, 20)))
    await site.other.change("theirs", DAY)
    await happen(site.other)
    after = await site.get("/events", who="other.reader")
    assert after["items"][-1]["position"] == before["items"][-1]["position"] + 1
