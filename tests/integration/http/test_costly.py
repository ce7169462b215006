"""Costly requests: other requests are answered meanwhile, and a deadline ends them."""

import asyncio
import signal
from os import kill
from typing import Any

import httpx2
import pytest

from engine.errors import TooCostly
from engine.http.app import Limits
from engine.http.costly import CostlyOperations
from engine.http.frames import CostlyOperation
from engine.service.caller import Caller
from engine.service.service import Service
from engine.store.orgs import lock_planning
from tests.integration.http.conftest import DAY, Site, add_people, serving
from tests.integration.http.test_problems import problem_of
from tests.support.worlds import World


def wide(columns: int, dag: str = "wide") -> str:
    """A DAG with a SELECT of many columns."""
    names = ", ".join(f"c{number}" for number in range(columns))
    return f"""dag: {dag}
jobs:
- name: src_{dag}
  activation: source
  source: {{kind: manual}}
  outputs: [{{dataset: {dag}_in, partitioning: {{dt: {{time: day, start: 2013-01-01}}}},
    columns: [dt, {names}]}}]
- name: {dag}_job
  operator: sql
  inputs: [{dag}_in]
  outputs: [{{dataset: {dag}_out, partitioning: {{dt: {{time: day, start: 2013-01-01}}}}}}]
  config: {{sql: "SELECT dt, {names} FROM {dag}_in"}}
"""


async def dry_run(site: Site, who: str, text: str) -> httpx2.Response:
    async with site.client(who) as client:
        client.timeout = httpx2.Timeout(120)
        return await client.post("/deploys", json={"files": [text]}, params={"dry_run": True})


COSTLY = [
    ("POST", "/deploys?dry_run=true", {"files": [wide(3)]}),
    ("POST", "/deploys", {"files": [wide(3)]}),
    ("POST", "/dags/wide/undeploy?dry_run=true", None),
    ("POST", "/dags/wide/undeploy", None),
    ("GET", "/lineage", None),
    ("GET", "/datasets/a/lineage", None),
    ("GET", "/datasets/a/partitions", None),
    ("GET", "/stale", None),
    ("GET", "/audit", None),
    ("POST", "/audit/mend", None),
    ("POST", "/plans", {"dataset": "a", "partitions": [DAY]}),
    ("POST", "/jobs/w.b/run", {"partitions": [DAY]}),
    ("POST", "/backfills", {"target": "b", "partitions": [DAY]}),
    ("POST", "/backfills/propose", {"target": "b", "partitions": [DAY]}),
]


async def test_costly_requests_do_not_occupy_the_service(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any) -> None:
        raise AssertionError("an operation runs in the process of the service")

    monkeypatch.setattr(Service, "connection", fail)
    async with site.client() as client:
        for method, path, body in COSTLY:
            answer = await client.request(method, path, json=body)
            assert answer.is_success, (path, answer.text)


async def test_plans_are_applied_and_approved_in_another_process(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    change = {"dataset": "a", "partitions": [DAY]}
    proposed = await site.post("/plans", change)
    monkeypatch.setattr(Service, "connection", None)
    async with site.client() as client:
        for decision in ("apply", "approve"):
            answer = await client.post(f"/plans/{proposed['plan_id']}/{decision}")
            assert answer.is_success, answer.text


async def endless(caller: Caller, service: Service) -> None:
    """Occupy a process, with a lock of the org."""
    async with service.transaction(caller) as (conn, org):
        await lock_planning(conn, org.id)
        while True:
            pass


async def test_a_deadline_ends_a_costly_request(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    operation = CostlyOperation(endless, site.world.caller, (), {}, None, "a test")
    with monkeypatch.context() as patch:
        patch.setattr(site.costly, "_seconds", 5)
        with pytest.raises(TooCostly, match="KNOCKON_HTTP_OPERATION_SECONDS"):
            await site.costly.run(operation)
    # Its lock is released with its transaction.
    assert (await dry_run(site, "admin", wide(3))).status_code == 200


async def test_an_ended_process_is_replaced(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    costly: CostlyOperations = site.costly
    assert (await dry_run(site, "admin", wide(3))).status_code == 200
    (process,) = costly._idle
    kill(process._process.pid, signal.SIGSTOP)
    waiting = asyncio.create_task(dry_run(site, "admin", wide(3)))
    await asyncio.sleep(0.2)
    kill(process._process.pid, signal.SIGKILL)
    problem_of(await waiting, 422, "too_costly")
    assert (await dry_run(site, "admin", wide(3))).status_code == 200


async def test_costly_requests_of_an_org_are_limited(worlds: tuple[World, World]) -> None:
    async with serving(*worlds, Limits(costly=2)) as site:
        await add_people(site)
        answers = await asyncio.gather(*(dry_run(site, "admin", wide(9)) for _ in range(3)))
    (rejected,) = [each for each in answers if each.status_code != 200]
    problem_of(rejected, 429, "too_many_requests")


@pytest.mark.parametrize("path", ["/deploys", "/dags/w/undeploy", "/audit/mend"])
async def test_rights_are_checked_before_a_process_is_used(site: Site, path: str) -> None:
    async with site.client("reader") as client:
        body = {"files": ["dag: x"]} if path == "/deploys" else None
        problem_of(await client.post(path, json=body), 403, "forbidden")
    assert not site.costly._idle


async def test_errors_of_a_costly_request_have_their_problem(site: Site) -> None:
    problem_of(await dry_run(site, "reader", "dag: ["), 422, "invalid_dag")
    async with site.client("admin") as client:
        problem_of(await client.get("/datasets/nothing/lineage"), 404, "unknown_name")


@pytest.mark.parametrize(
    "text",
    [
        "dag: x\njobs: []\n" + "#" * (1 << 21),
        "a: &a [x, x]\nb: &b [*a, *a]\nc: [*b, *b]",
        "dag: x\njobs: " + "[" * 10_000,
        wide(1).replace("start: 2013-01-01", "start: 0001-01-01, every: 1s").replace("day", "step"),
        wide(1).replace("{time: day, start: 2013-01-01}", "{range: 1, start: 0, end: 1e999999}"),
        wide(1).replace("{time: day, start: 2013-01-01}", "{cron: '* * * * *', start: 0001-01-01}"),
    ],
    ids=["bytes", "anchors", "depth", "step", "number", "cron"],
)
async def test_malicious_files_get_a_clear_answer(site: Site, text: str) -> None:
    answer = await dry_run(site, "admin", text)
    assert answer.status_code == 422, answer.text
    assert answer.json()["type"].rpartition(":")[2] in ("invalid_dag", "too_costly")
    assert await site.get("/me")


@pytest.mark.parametrize(
    "expression", ["(" * 2_000 + "c0" + ")" * 2_000, "1+" * 5_000 + "c0"], ids=["()", "+"]
)
async def test_columns_of_deep_sql_are_unknown(site: Site, expression: str) -> None:
    text = wide(1).replace("SELECT dt, c0", f"SELECT dt, {expression}")
    answer = (await dry_run(site, "admin", text)).json()
    assert "nested too deep" in answer["dags"][0]["notes"][0]["text"]
