"""The public clients, blocking and for asyncio, against the service on a socket."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any, TypeVar

import pytest

from engine.http.app import Limits
from engine.model.states import EventKind, KeyScope, TaskStatus
from engine.store.database import Database
from knockon import (
    AsyncServer,
    Forbidden,
    IdempotencyConflict,
    InvalidInput,
    LeaseLost,
    Output,
    Server,
    ServiceUnavailable,
    Unauthenticated,
    UnknownName,
)
from tests.integration.http.conftest import DAY, OTHER, Site, add_people, key_for, serving
from tests.integration.http.test_streams import happen
from tests.support.worlds import World, job, source

T = TypeVar("T")


async def blocking(site: Site, work: Callable[[Server], T], who: str = "admin") -> T:
    """Run blocking code with a client beside the service of this process."""

    def run() -> T:
        with Server(site.url, site.keys[who]) as server:
            return work(server)

    return await asyncio.to_thread(run)


async def test_both_clients_have_the_same_methods_and_results(site: Site) -> None:
    def read(server: Server) -> tuple[Any, ...]:
        server.invalidations.create("a", partitions=[DAY], columns=["amount"])
        return (
            server.me.get(),
            server.datasets.list().all(),
            server.jobs.list(dag="w").first(1),
            server.invalidations.list(dataset="a").all(),
            server.datasets.partitions("b"),
            server.org.get(),
        )

    read_by_blocking = await blocking(site, read)
    async with AsyncServer(site.url, site.keys["admin"]) as server:
        read_by_async = (
            await server.me.get(),
            await server.datasets.list().all(),
            await server.jobs.list(dag="w").first(1),
            await server.invalidations.list(dataset="a").all(),
            await server.datasets.partitions("b"),
            await server.org.get(),
        )
    assert read_by_blocking == read_by_async
    me, datasets, jobs, (invalidation,), _, _ = read_by_async
    assert (me.user, [each.name for each in datasets]) == ("admin@example.com", ["a", "b"])
    assert len(jobs) == 1
    assert invalidation.columns == ["amount"]


async def test_lists_are_read_page_by_page(site: Site) -> None:
    async with AsyncServer(site.url, site.keys["admin"]) as server:
        for number in range(7):
            await server.invalidations.create("a", partitions=[DAY], note=str(number))
        every = server.invalidations.list(dataset="a")
        ids = [each.id async for each in every]
        assert len(ids) == 7
        assert [each.id for each in await every.first(3)] == ids[:3]
        smaller = every.request.with_query(limit=2)
        page = await server._connection.send(smaller)
        assert page.next is not None
        assert [each.id for each in await every.all()] == ids

    def read(server: Server) -> tuple[Any, Any, Any]:
        pages = server.invalidations.list(dataset="a")
        return [each.id for each in pages], pages.first(3), pages.first(0)

    again, three, none = await blocking(site, read)
    assert (again, [each.id for each in three], none) == (ids, ids[:3], [])


async def test_errors_are_those_of_the_operations(site: Site) -> None:
    async with AsyncServer(site.url, site.keys["reader"]) as server:
        with pytest.raises(UnknownName, match="there is no dataset 'aa'"):
            await server.datasets.partitions("aa")
        with pytest.raises(UnknownName):
            await server.tasks.get("01941f29-7c00-7000-8000-000000000000")
        with pytest.raises(Forbidden, match="requires the role"):
            await server.invalidations.create("a")
    async with AsyncServer(site.url, site.keys["admin"]) as server:
        with pytest.raises(InvalidInput, match="partitions: List should have at least 1 item"):
            await server.invalidations.create("a", partitions=[])
        await server.invalidations.create("a", partitions=[DAY], idempotency_key="k")
        again = await server.invalidations.create("a", partitions=[DAY], idempotency_key="k")
        assert not again.is_new
        with pytest.raises(IdempotencyConflict):
            await server.invalidations.create("a", partitions=[OTHER], idempotency_key="k")
    async with AsyncServer(site.url, "kn_none_such") as server:
        with pytest.raises(Unauthenticated):
            await server.me.get()
    with pytest.raises(Forbidden):
        await blocking(site, lambda server: server.invalidations.create("a"), "reader")


async def test_an_unreachable_server_is_reported_without_the_key() -> None:
    async with AsyncServer("http://127.0.0.1:1", "kn_abc_secret") as server:
        with pytest.raises(ServiceUnavailable, match="no response from http") as raised:
            await server.invalidations.create("a", partitions=[DAY])
    assert "secret" not in str(raised.value)


async def test_a_request_over_the_rate_is_sent_again(worlds: tuple[World, World]) -> None:
    async with serving(*worlds, limits=Limits(per_second=5)) as site:
        await add_people(site)
        async with AsyncServer(site.url, site.keys["admin"]) as server:
            requests = [server.me.get() for _ in range(15)]
            assert len(await asyncio.gather(*requests)) == 15


async def test_events_continue_without_a_gap_after_a_lost_connection(site: Site) -> None:
    kinds = [EventKind.INVALIDATION_RECORDED]
    async with relay(site) as (url, cut), AsyncServer(url, site.keys["admin"]) as server:
        await happen(site.world, DAY)
        positions = []
        async with asyncio.timeout(30):
            async for event in server.events.stream(after=0, kinds=kinds):
                positions.append(event.position)
                if len(positions) == 3:
                    break
                await happen(site.world, OTHER)
                cut()
        listed = await server.events.list(after=0, kinds=kinds).first(3)
    assert positions == [each.position for each in listed]


@asynccontextmanager
async def relay(site: Site) -> AsyncIterator[tuple[str, Callable[[], None]]]:
    """An address that leads to the service, and a function that cuts its connections."""
    host, _, port = site.url.removeprefix("http://").partition(":")
    writers: list[asyncio.StreamWriter] = []

    async def copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            while data := await reader.read(65_536):
                writer.write(data)
        writer.close()

    async def connect(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        their_reader, their_writer = await asyncio.open_connection(host, int(port))
        writers.extend((writer, their_writer))
        await asyncio.gather(copy(reader, their_writer), copy(their_reader, writer))

    def cut() -> None:
        while writers:
            writers.pop().transport.abort()

    server = await asyncio.start_server(connect, "127.0.0.1", 0)
    own = server.sockets[0].getsockname()
    try:
        yield f"http://127.0.0.1:{own[1]}", cut
    finally:
        cut()
        server.close()


async def test_a_blocking_stream_ends_when_the_key_is_revoked(site: Site) -> None:
    key = await key_for(site.world, "admin@example.com", KeyScope.READ)

    def read() -> int:
        with Server(site.url, key) as server:
            return next(iter(server.events.stream(after=0))).position

    async with AsyncServer(site.url, site.keys["admin"]) as admin:
        await happen(site.world, DAY)
        assert await asyncio.to_thread(read) > 0
        await admin.keys.revoke(key.split("_")[1])
    with pytest.raises(Unauthenticated):
        await asyncio.to_thread(read)


async def test_a_worker_claims_and_reports_tasks(database: Database, site: Site) -> None:
    world = site.world
    external = job("c", "s", version="1") | {"runtime": "external", "operator": "trainer"}
    await world.deploy(source("s"), external, dag="ext")
    await world.changed("s", DAY)
    key = await key_for(world, "writer@example.com", KeyScope.WORKER)
    async with AsyncServer(site.url, key) as worker:
        (task,) = (await worker.tasks.claim("w1", jobs=["ext.c"], wait=5)).tasks
        assert (task.job, task.partitions) == ("c", [DAY])
        assert (await worker.tasks.heartbeat(task, log="half")).expires_at >= task.expires_at
        output = Output("c", DAY, fingerprint="f", changed_columns=frozenset({"amount"}))
        assert (await worker.tasks.complete(task, outputs=[output], log="done")).task == task.id
        with pytest.raises(LeaseLost):
            await worker.tasks.fail(task, "too late")
        assert (await worker.tasks.claim("w1")).tasks == []
    async with AsyncServer(site.url, site.keys["reader"]) as server:
        (row,) = await server.tasks.list(status=[TaskStatus.SUCCEEDED], job="ext.c").all()
        assert (await server.tasks.attempts(row.id)).attempts[0].log == "done"


async def test_several_items_by_the_end_of_their_ids(site: Site) -> None:
    await site.world.changed("a", DAY, OTHER)
    async with AsyncServer(site.url, site.keys["admin"]) as server:
        ids = [each.id for each in await server.tasks.list().all()]
        ends = [str(each)[-12:] for each in ids]
        assert len(ids) == 2
        assert (await server.tasks.get(ends[0])).task.id == ids[0]
        with pytest.raises(UnknownName):
            await server.tasks.cancel_many(ids=[ends[0], "ffffffffffff"])
        with pytest.raises(InvalidInput, match="ids name the items: leave out job"):
            await server.tasks.cancel_many(ids=ends, job="b")
        canceled = await server.tasks.cancel_many(ids=ends)
        assert (canceled.canceled, set(canceled.tasks)) == (2, set(ids))
        assert (await server.tasks.retry_many(ids=[*ids])).requested == 2
