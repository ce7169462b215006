"""Search by name and by id, without anything hidden."""

from typing import Any
from uuid import UUID

import pytest

from engine.errors import InvalidInput
from engine.flow.retention.archive import archive
from engine.model.states import Role
from engine.service.queries.search import SearchKind, SearchResult, search
from engine.store.database import Database
from tests.support.hidden import hidden_world
from tests.support.worlds import World, job, source

DAY = "2013-02-13"


@pytest.fixture
async def world(database: Database) -> World:
    return await World.made(
        database,
        source("orders"),
        job("Daily_Orders", "orders", columns={"total": ["orders.amount"]}),
        job("totals", "Daily_Orders", columns={"total": ["Daily_Orders.total"]}),
        dag="shop",
    )


async def found(world: World, text: str, *kinds: SearchKind, **more: Any) -> SearchResult:
    return await search(world.caller, world.service, text, kinds, **more)


async def names(world: World, text: str, *kinds: SearchKind) -> list[tuple[str, str | None, str]]:
    items = (await found(world, text, *kinds)).items
    return [(str(each.kind), each.name, str(each.match)) for each in items]


async def test_names_of_all_kinds_are_found(world: World) -> None:
    assert await names(world, " ORDERS ") == [
        ("dataset", "orders", "exact"),
        ("dataset", "Daily_Orders", "word"),
        ("job", "Daily_Orders", "word"),
        ("job", "src_orders", "word"),
    ]
    assert ("dag", "shop", "exact") in await names(world, "shop")
    assert await names(world, "total", SearchKind.COLUMN) == [("column", "total", "exact")] * 2
    columns = (await found(world, "total", SearchKind.COLUMN)).items
    assert [each.dataset for each in columns] == ["Daily_Orders", "totals"]
    assert await names(world, "nothing") == []


async def test_a_job_is_found_by_its_full_name(world: World) -> None:
    (only,) = (await found(world, "SHOP.totals")).items
    assert (only.kind, only.name, only.dag, only.match) == ("job", "totals", "shop", "exact")


async def test_results_are_bounded(world: World) -> None:
    few = await found(world, "o", limit=2)
    assert (len(few.items), few.more) == (2, True)
    assert not (await found(world, "o", limit=100)).more
    for text, limit in (("o", 0), ("o", 101), (" ", 20), ("x" * 201, 20)):
        with pytest.raises(InvalidInput):
            await found(world, text, limit=limit)


async def test_work_is_found_by_the_ends_of_its_id(world: World) -> None:
    await world.changed("orders", DAY)
    await world.run()
    ids = {
        kind: (await world.rows(f"SELECT id::text FROM {kind}s ORDER BY id LIMIT 1"))[0]["id"]
        for kind in ("task", "plan")
    }
    ids["invalidation"] = (
        await world.rows(
            "SELECT i.id::text FROM data_invalidations i JOIN datasets d ON d.id = i.dataset_uuid "
            "WHERE d.name = 'orders' AND i.partition_key = %s",
            DAY,
        )
    )[0]["id"]
    expected = {"task": "Daily_Orders", "plan": None, "invalidation": "orders"}
    for is_archived in (False, True):
        if is_archived:
            async with world.conn() as conn:
                assert await archive(conn, world.org, 0)
        for kind, id_ in ids.items():
            for text, match in (
                (id_, "exact"),
                (id_.upper().replace("-", ""), "exact"),
                (id_[-8:], "ending"),
                (id_[-12:], "ending"),
                (id_[:23], "prefix"),
            ):
                items = (await found(world, text)).items
                assert (kind, match, UUID(id_), expected[kind]) in [
                    (each.kind, each.match, each.id, each.name) for each in items
                ], text
            assert (await found(world, id_[-7:])).items == ()


async def test_names_follow_a_deploy(world: World) -> None:
    assert await names(world, "refunds") == []
    await world.deploy(source("refunds"), dag="more")
    assert ("dataset", "refunds", "exact") in await names(world, "refunds")


async def test_nothing_hidden_is_found_or_counted(database: Database) -> None:
    hidden = await hidden_world(database)
    service = hidden.world.service
    for text in ("zz", "zzsecret_mid", "make_zz", "w.make_zzsecret_mid", "zzsecret_dag"):
        result = await search(hidden.user(Role.WRITER), service, text, limit=1)
        assert result == SearchResult((), more=False), text
        assert (await search(hidden.user(Role.WRITER, "finance"), service, text)).items
    visible = await search(hidden.user(Role.WRITER), service, "e", limit=100)
    assert not visible.more
    task = hidden.ids["make_zzsecret_mid succeeded"]
    for text in (task, task[-8:]):
        assert not (await search(hidden.user(Role.WRITER), service, text)).items
        assert (await search(hidden.user(Role.WRITER, "finance"), service, text)).items
