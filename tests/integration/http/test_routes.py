"""Every route once, with the result of its operation."""

import json
from typing import Any
from uuid import UUID

import pytest

from engine.flow.retention.publish import publish
from engine.service.commands.orgs import set_trusted
from tests.integration.http.conftest import DAY, OTHER, Site
from tests.support.worlds import job, source


async def test_the_caller_is_shown(site: Site) -> None:
    me = await site.get("/me", "reader")
    assert me == {
        "org": "default",
        "org_id": str(site.world.org.id),
        "user": "reader@example.com",
        "role": "reader",
        "scopes": ["api"],
    }


async def test_users_are_managed(site: Site) -> None:
    ann = await site.post("/users", {"email": "ann@example.com", "role": "reader"})
    assert ann["role"] == "reader"
    assert UUID(ann["id"])
    changed = await site.post(f"/users/{ann['id']}/role", {"role": "writer"})
    assert changed["role"] == "writer"
    emails = [user["email"] for user in (await site.get("/users"))["items"]]
    assert emails == sorted(["ann@example.com", *(f"{r}@example.com" for r in ROLES)])
    async with site.client() as client:
        assert (await client.delete(f"/users/{ann['id']}")).json()["email"] == "ann@example.com"
        assert (await client.delete(f"/users/{ann['id']}")).status_code == 404
    (change, *_) = (await site.get("/access-changes"))["items"]
    assert (change["change"], change["actor"], change["origin"]) == (
        "user.removed",
        "admin@example.com",
        "http",
    )


ROLES = ("reader", "writer", "admin")


async def test_roles_of_the_org_are_managed(site: Site) -> None:
    await site.post("/roles", {"slug": "finance", "name": "Finance"})
    user = next(user for user in (await site.get("/users"))["items"] if user["role"] == "reader")
    body = {"user": user["email"]}
    assert await site.post("/roles/finance/members", body) == {"changed": True}
    assert await site.post("/roles/finance/members", body) == {"changed": False}
    (role,) = (await site.get("/roles"))["items"]
    assert role["members"] == [user["email"]]
    async with site.client() as client:
        ended = await client.delete(f"/roles/finance/members/{user['id']}")
        assert ended.json() == {"changed": True}
        assert (await client.delete("/roles/finance")).json()["slug"] == "finance"
    assert (await site.get("/roles"))["items"] == []


async def test_keys_are_managed(site: Site) -> None:
    body = {"user": "reader@example.com", "name": "ci", "scopes": ["read"], "seconds": 60}
    async with site.client() as client:
        response = await client.post("/keys", json=body)
    assert (response.status_code, response.headers["cache-control"]) == (201, "no-store")
    created = response.json()
    async with site.client_of(created["key"]) as client:
        assert (await client.get("/me")).json()["scopes"] == ["read"]
    rows = (await site.get("/keys"))["items"]
    assert created["key"] not in json.dumps(rows)
    assert rows[0]["prefix"] == created["prefix"]
    revoked = await site.post(f"/keys/{created['prefix']}/revoke")
    assert revoked == {"prefix": created["prefix"], "name": "ci"}
    async with site.client_of(created["key"]) as client:
        assert (await client.get("/me")).status_code == 401


async def test_the_org_is_shown_and_changed(site: Site) -> None:
    assert (await site.get("/org"))["blast_radius"] is None
    assert (await site.post("/org/blast-radius", {"limit": 7}))["blast_radius"] == 7
    assert (await site.get("/org"))["blast_radius"] == 7
    assert [dag["name"] for dag in (await site.get("/status"))["dags"]] == ["w"]
    assert (await site.get("/health/processes"))["verdict"] == "warn"
    assert {check["name"] for check in (await site.get("/health/work"))["items"]} >= {"DAGs"}


def dag(name: str, *jobs: dict[str, Any]) -> str:
    return json.dumps({"dag": name, "jobs": list(jobs)})


async def test_dags_are_deployed_and_undeployed(site: Site) -> None:
    files = {"files": [dag("shop", source("orders"), job("sales", "orders", version="1"))]}
    shown = await site.post("/deploys", files, "writer", dry_run=True)
    assert [each["dag_name"] for each in shown["dags"]] == ["shop"]
    assert [each["name"] for each in (await site.get("/dags"))["items"]] == ["w"]
    await set_trusted(site.world.caller, site.world.service, True)  # a python job
    await site.post("/deploys", files, "writer")
    assert [each["name"] for each in (await site.get("/dags"))["items"]] == ["shop", "w"]
    (deployed,) = (await site.get("/dags/shop/deploys"))["items"]
    assert (deployed["version"], deployed["by"]) == (1, "writer@example.com")
    assert len((await site.get("/deploys"))["items"]) == 2
    file = await site.get("/dags/shop/versions/1/file")
    assert file["file"] == files["files"][0]
    builds = await site.get(f"/invalidations/of-version/{deployed['version_id']}")
    assert list(builds) == ["invalidations"]
    preview = await site.post("/dags/shop/undeploy", dry_run=True)
    assert preview["dag_name"] == "shop"
    assert len((await site.get("/dags"))["items"]) == 2
    await site.post("/dags/shop/undeploy", {"drop_tables": False})
    assert [each["name"] for each in (await site.get("/dags"))["items"]] == ["w"]


async def test_jobs_and_datasets_are_listed(site: Site) -> None:
    assert [each["name"] for each in (await site.get("/jobs"))["items"]] == ["src_a", "b"]
    assert [each["name"] for each in (await site.get("/datasets", dag="w"))["items"]] == ["a", "b"]
    (tree,) = (await site.get("/datasets/a/lineage"))["items"]
    assert [node["dataset"] for node in tree["next"]] == ["b"]
    (up,) = (await site.get("/lineage", direction="up"))["items"]
    assert up["dataset"] == "b"


async def test_a_neighbourhood_is_shown(site: Site) -> None:
    path = "/datasets/a/neighbourhood"
    whole = await site.get(path, "reader")
    assert [node["name"] for node in whole["datasets"]] == ["a", "b"]
    assert {node["name"] for node in whole["jobs"]} == {"src_a", "b"}
    assert len(whole["edges"]) == 3
    part = await site.get(path, upstream=0, downstream=0, columns=True, column="x")
    assert [(node["name"], node["path"]) for node in part["datasets"]] == [("a", ["x"])]
    assert (part["datasets"][0]["more"]["downstream"], part["edges"]) == (1, [])
    async with site.client() as client:
        assert (await client.get(path, params={"limit": 301})).status_code == 422
        assert (await client.get("/datasets/theirs/neighbourhood")).status_code == 404


async def test_everything_is_found(site: Site) -> None:
    found = await site.get("/search", "reader", q="B")
    assert [(row["kind"], row["name"], row["match"]) for row in found["items"]] == [
        ("dataset", "b", "exact"),
        ("job", "b", "exact"),
    ]
    await site.world.changed("a", DAY)
    (task,) = (await site.get("/tasks"))["items"]
    rows = (await site.get("/search", q=task["id"][-8:], kind=["task", "plan"]))["items"]
    assert [(row["id"], row["match"]) for row in rows] == [(task["id"], "ending")]
    assert (await site.get("/search", "other.reader", q=task["id"]))["items"] == []
    async with site.client() as client:
        assert (await client.get("/search")).status_code == 422
        assert (await client.get("/search", params={"q": "x" * 201})).status_code == 422
        assert (await client.get("/search", params={"q": "  "})).status_code == 422


async def test_positions_are_listed(site: Site) -> None:
    await site.world.rows(
        "INSERT INTO consumer_positions (org_id, consumer, stream, position, lag)"
        " VALUES (%s, 'knockon.default', 'kafka/t/0', '7', 3) RETURNING 1",
        site.world.org.id,
    )
    (row,) = (await site.get("/positions", "reader"))["items"]
    assert (row["stream"], row["position"], row["lag"], row["is_read"]) == (
        "kafka/t/0",
        "7",
        3,
        False,
    )
    assert (await site.get("/positions", "other.reader"))["items"] == []


async def test_schedules_are_listed(site: Site) -> None:
    nightly = {"kind": "schedule", "cron": "0 2 * * *", "zone": "America/New_York"}
    await site.post("/deploys", {"files": [dag("night", source("n", source=nightly))]}, "writer")
    (row,) = (await site.get("/schedules", "reader"))["items"]
    assert (row["dataset"], row["dag"], row["cron"]) == ("n", "night", "0 2 * * *")
    assert (row["last_at"], row["is_overdue"], row["pause"]) == (None, False, None)
    assert (await site.get("/schedules", "other.reader"))["items"] == []


async def test_partitions_are_explained(site: Site) -> None:
    await site.world.changed("a", DAY)
    (row,) = (await site.get("/datasets/b/partitions"))["items"]
    assert (row["state"], row["partitions"]) == ("queued", [DAY])
    explained = await site.get("/datasets/b/explanation", partition=DAY)
    assert explained["unfinished"][0]["job"] == "b"
    assert (await site.get("/stale"))["next"] is None
    assert (await site.get("/audit"))["lost"] == 0
    assert (await site.post("/audit/mend", {"dataset": "b"}))["lost"] == 0


async def test_invalidations_are_made_and_followed(site: Site) -> None:
    made = await site.post("/invalidations", {"dataset": "a", "partitions": [DAY]}, "writer")
    (id_,) = made["invalidations"]
    (row,) = (await site.get("/invalidations", dataset="a", open=True))["items"]
    assert (row["id"], row["partition_key"], row["reason"]) == (id_, DAY, "manual")
    assert (await site.get("/invalidations/progress", id=id_))["unplanned"] == 1
    awaited = await site.get("/invalidations/awaited", id=[id_, id_])
    assert [each["dataset"] for each in awaited["invalidations"]] == ["a"]
    assert await site.post("/invalidations/replay", {}) == {"invalidations": []}
    assert await site.post("/invalidations/replay", {"ids": [id_]}) == {"invalidations": []}


async def test_plans_are_proposed_and_applied(site: Site) -> None:
    proposed = await site.post("/plans", {"dataset": "a", "partitions": [DAY]}, "writer")
    id_ = proposed["plan_id"]
    assert (await site.get(f"/plans/{id_}"))["plan"]["state"] == "proposed"
    assert [each["id"] for each in (await site.get("/plans", state="proposed"))["items"]] == [id_]
    assert (await site.post(f"/plans/{id_}/apply"))["tasks"] == 1


@pytest.mark.parametrize("decision", ["approve", "reject"])
async def test_plans_are_decided(site: Site, decision: str) -> None:
    await site.post("/org/blast-radius", {"limit": 1})
    await site.world.changed("a", f"{DAY}..{OTHER}")
    (plan,) = (await site.get("/plans", state="pending_approval"))["items"]
    review = await site.post(f"/plans/{plan['id']}/{decision}", who="writer")
    assert review["state"] == {"approve": "applied", "reject": "rejected"}[decision]
    assert (await site.get(f"/plans/{plan['id']}"))["plan"]["decided_by"] == "writer@example.com"


async def test_tasks_are_retried_and_canceled(site: Site) -> None:
    await site.world.changed("a", DAY)
    (task,) = (await site.get("/tasks", job="b", status="queued"))["items"]
    path = f"/tasks/{task['id']}"
    assert (await site.get(path))["task"]["block_key"] == DAY
    assert (await site.get(f"{path}/attempts"))["attempts"] == []
    assert (await site.post(f"{path}/cancel", who="writer"))["canceled"] == 1
    assert (await site.post(f"{path}/retry", who="writer"))["requested"] == 1
    await site.world.plan()
    assert (await site.post("/tasks/cancel", {"job": "b"}))["canceled"] == 1
    assert (await site.post("/tasks/retry", {"statuses": ["canceled"]}))["requested"] >= 1


async def test_runs_and_backfills_are_requested(site: Site) -> None:
    built = await site.post("/backfills", {"target": "b", "partitions": [DAY]}, "writer")
    assert built["is_new"]
    proposed = await site.post("/backfills/propose", {"target": "b", "partitions": [OTHER]})
    assert proposed["tasks"] == 1
    await site.world.plan()
    await site.world.run()
    assert (await site.post("/jobs/b/run", {"partitions": [DAY]}, "writer"))["is_new"]


async def test_pauses_begin_and_end(site: Site) -> None:
    begun = await site.post("/pauses", {"kind": "job", "name": "b", "reason": "repair"}, "writer")
    assert (begun["name"], begun["is_new"]) == ("w.b", True)
    (row,) = (await site.get("/pauses"))["items"]
    assert (row["paused_by"], row["reason"]) == ("writer@example.com", "repair")
    assert (await site.post("/pauses/resume", {"kind": "job", "name": "b"}))["name"] == "w.b"


async def test_dead_letters_are_replayed_and_discarded(site: Site) -> None:
    ids = [await dead_letter(site, number) for number in range(3)]
    rows = (await site.get("/dead-letters"))["items"]
    assert [row["id"] for row in rows] == ids[::-1]
    path = f"/dead-letters/{ids[0]}"
    assert (await site.get(path))["payload"] == "nothing"
    assert (await site.post(f"{path}/replay"))["error"]
    assert (await site.post(f"{path}/discard", {"reason": "a test"}))["discarded"] == 1
    assert len((await site.post("/dead-letters/replay"))["items"]) == 2
    body = {"reason": "a test", "stream": "kafka/orders/0"}
    assert (await site.post("/dead-letters/discard", body))["discarded"] == 2
    assert len((await site.get("/dead-letters", done=True))["items"]) == 3


async def dead_letter(site: Site, number: int) -> str:
    (row,) = await site.world.rows(
        "INSERT INTO dead_letters (id, org_id, consumer, stream, position, payload, error) "
        "VALUES (random_id_at(now() + make_interval(secs => %s)), %s, 'c', 'kafka/orders/0', "
        "%s, 'nothing', 'bad') RETURNING id",
        number,
        site.world.org.id,
        str(number),
    )
    return str(row["id"])


async def test_events_are_listed(site: Site) -> None:
    await site.world.changed("a", DAY)
    async with site.world.conn() as conn:
        await publish(conn)
    kinds = [row["kind"] for row in (await site.get("/events", after=0))["items"]]
    assert {"invalidation.recorded", "plan.applied"} <= {*kinds}
    (newest,) = (await site.get("/events", limit=1))["items"]
    assert newest["kind"] == kinds[-1]
