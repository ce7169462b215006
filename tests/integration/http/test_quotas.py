"""Quotas over HTTP: they are seen, not raised, and reveal nothing about other orgs."""

import httpx2
import pytest

from engine.errors import Forbidden
from engine.event_rates import EventRates
from engine.model.states import Role
from engine.service.caller import Caller, Org
from engine.service.commands.orgs import Quota, set_quota
from tests.integration.http.conftest import DAY, Site
from tests.integration.http.test_problems import problem_of
from tests.support.http_messages import JSON, posted
from tests.support.worlds import World, job

WEEK = [f"2013-02-{day}" for day in range(11, 18)]


@pytest.fixture(autouse=True)
def frozen(monkeypatch: pytest.MonkeyPatch) -> None:
    """Time stands still for rates of events."""
    monkeypatch.setattr("engine.service.service.EventRates", lambda: EventRates(lambda: 0.0))


async def post(site: Site, who: str, dataset: str, *partitions: str) -> httpx2.Response:
    async with site.client(who) as client:
        body = {"dataset": dataset, "partitions": partitions or (DAY,)}
        return await client.post("/invalidations", json=body)


async def limit(world: World, quota: Quota, value: int) -> None:
    await set_quota(world.caller, world.service, quota, value)


async def test_events_beyond_the_quota_are_refused(site: Site) -> None:
    await limit(site.world, Quota.EVENTS_PER_SECOND, 1)
    assert (await post(site, "writer", "a")).status_code == 201
    refused = await post(site, "writer", "a")
    assert problem_of(refused, 429, "too_many_events")["detail"] == (
        "the quota of the org permits 1 events per second: send this again later"
    )
    assert refused.headers["retry-after"] == "1"
    (row,) = await site.world.rows(
        "SELECT count(*) AS n FROM data_invalidations WHERE reason = 'manual'"
    )
    assert row["n"] == 1
    others = [(await post(site, "other.writer", "theirs")).status_code for _ in range(20)]
    assert others == [201] * 20


async def test_each_message_of_a_request_counts(site: Site) -> None:
    await site.world.deploy(posted("a", format="cloudevents"), job("b", "a"))
    await limit(site.world, Quota.EVENTS_PER_SECOND, 2)
    batch = [
        {"specversion": "1.0", "id": str(n), "source": "x", "type": "t", "data": {"dt": day}}
        for n, day in enumerate(WEEK * 20)
    ]
    headers = JSON | {"content-type": "application/cloudevents-batch+json"}
    async with site.client("writer", **headers) as client:
        first = await client.post("/sources/in", json=batch)
        again = await client.post("/sources/in", json=batch)
    assert (first.status_code, again.status_code) == (200, 429), first.text
    assert int(again.headers["retry-after"]) == 70


async def test_a_plan_beyond_the_quota_is_not_approved_over_http(site: Site) -> None:
    await limit(site.world, Quota.PARTITIONS_PER_PLAN, 3)
    await site.world.change("a", *WEEK)
    await site.world.plan()
    (plan,) = (await site.get("/plans", state="pending_approval"))["items"]
    async with site.client("admin") as client:
        response = await client.post(f"/plans/{plan['id']}/approve")
    assert "the quota of the org allows 3" in problem_of(response, 409, "quota_exceeded")["detail"]


async def test_quotas_and_their_use_are_those_of_the_own_org(site: Site) -> None:
    before = await site.get("/org", "other.admin"), await site.get("/org/usage", "other.admin")
    await limit(site.world, Quota.RUNNING_TASKS, 7)
    await site.world.changed("a", *WEEK)
    await site.world.claim(3)
    assert (await site.get("/org"))["running_tasks"] == 7
    assert await site.get("/org/usage") == {
        "unfinished_tasks": 7,
        "running_tasks": 3,
        "log_bytes": 0,
        "jobs": 2,
    }
    after = await site.get("/org", "other.admin"), await site.get("/org/usage", "other.admin")
    assert after == before
    assert before[1]["unfinished_tasks"] == 0


async def test_the_use_is_shown_to_admins_only(site: Site) -> None:
    for who in ("reader", "writer"):
        async with site.client(who) as client:
            problem_of(await client.get("/org/usage"), 403, "forbidden")


async def test_admins_of_an_org_do_not_set_quotas(site: Site) -> None:
    admin = Caller(Org(site.world.org.id, "default"), "ann@example.com", Role.ADMIN)
    with pytest.raises(Forbidden, match="reserved for operators"):
        await set_quota(admin, site.world.service, Quota.JOBS, 1_000)
