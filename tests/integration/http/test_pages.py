"""Pages of lists, and entity tags."""

import json

import pytest

from engine.flow.retention.publish import publish
from tests.integration.http.conftest import Site
from tests.integration.http.test_routes import dead_letter
from tests.support.worlds import source


async def walked(site: Site, path: str, key: str, limit: int, **params: object) -> list[object]:
    """The keys of all items of a list, read page by page."""
    keys, cursor = [], None
    for _ in range(100):
        more = params if cursor is None else {**params, "cursor": cursor}
        page = await site.get(path, limit=limit, **more)
        assert len(page["items"]) <= limit
        keys += [row[key] for row in page["items"]]
        cursor = page["next"]
        if cursor is None:
            return keys
    raise AssertionError("the pages do not end")


@pytest.fixture
async def busy(site: Site) -> Site:
    """Several rows of each kind."""
    for number in range(5):
        await site.world.change("a", f"2013-02-0{number + 1}")
        await site.post("/plans", {"dataset": "a", "partitions": [f"2013-02-0{number + 1}"]})
        await dead_letter(site, number)
        await site.post("/roles", {"slug": f"role{number}"})
        await site.post("/org/blast-radius", {"limit": number + 100})
        await site.post("/deploys", {"files": [SOURCES[number]]})
    await site.world.plan()
    async with site.world.conn() as conn:
        await publish(conn)
    return site


SOURCES = [
    json.dumps(
        {"dag": f"d{number}", "jobs": [source(f"x{number}", {})]},
    )
    for number in range(5)
]

LISTS = {
    "/tasks": "id",
    "/plans": "id",
    "/invalidations": "id",
    "/dead-letters": "id",
    "/deploys": "id",
    "/access-changes": "id",
    "/users": "email",
    "/roles": "slug",
    "/keys": "prefix",
    "/dags": "name",
    "/jobs": "name",
    "/datasets": "name",
}


async def test_pages_have_all_items_once(busy: Site) -> None:
    for path, key in LISTS.items():
        whole = await walked(busy, path, key, 1000)
        assert len(whole) == len(set(whole)) >= 3, path
        for limit in (1, 2, len(whole)):
            assert await walked(busy, path, key, limit) == whole, (path, limit)
    events = await walked(busy, "/events", "position", 1000, after=0)
    assert len(events) >= 5
    assert await walked(busy, "/events", "position", 2, after=0) == events == sorted(events)


async def test_new_rows_do_not_move_pages(busy: Site) -> None:
    first = await busy.get("/invalidations", limit=2)
    before = [row["id"] for row in (await busy.get("/invalidations", limit=4))["items"]]
    await busy.world.change("a", "2013-03-01")
    second = await busy.get("/invalidations", limit=2, cursor=first["next"])
    assert [row["id"] for row in (*first["items"], *second["items"])] == before


async def test_the_item_of_a_cursor_may_be_gone(busy: Site) -> None:
    page = await busy.get("/roles", limit=2)
    async with busy.client() as client:
        await client.delete(f"/roles/{page['items'][-1]['slug']}")
        response = await client.get("/roles", params={"cursor": page["next"]})
    assert response.status_code == 422
    assert "from the beginning" in response.json()["detail"]


async def test_an_unchanged_resource_is_not_sent_again(site: Site) -> None:
    async with site.client() as client:
        first = await client.get("/datasets")
        tag = first.headers["etag"]
        for value in (tag, f"W/{tag}", f'"x", {tag}', "*"):
            again = await client.get("/datasets", headers={"If-None-Match": value})
            assert (again.status_code, again.content) == (304, b"")
            assert again.headers["etag"] == tag
        other = await client.get("/datasets", headers={"If-None-Match": '"x"'})
        assert other.status_code == 200
        await site.post("/pauses", {"kind": "org"})
        changed = await client.get("/datasets", headers={"If-None-Match": tag})
    assert changed.status_code == 200
    assert first.headers["cache-control"] == "private, no-cache"
