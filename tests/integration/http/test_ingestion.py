"""Messages of other systems, posted over HTTP."""

import asyncio
import time
from base64 import b64encode
from collections.abc import Mapping
from typing import Any

import httpx2
import msgspec
import pytest
from openlineage.client.client import OpenLineageClient
from openlineage.client.event_v2 import Job, OutputDataset, Run, RunEvent, RunState
from openlineage.client.transport.http import ApiKeyTokenProvider, HttpConfig, HttpTransport

from engine.model.states import KeyScope
from tests.integration.http.conftest import DAY, Site, key_for
from tests.integration.http.test_problems import problem_of
from tests.support.http_messages import SAMPLES, SECRET, Sample, encoded, posted, signature
from tests.support.worlds import job

STATE = """SELECT (SELECT count(*) FROM data_invalidations) AS invalidations,
                  (SELECT count(*) FROM dead_letters) AS letters"""
LINEAGE = {"format": "openlineage", "namespace": "db", "name": "public.{dataset}"}
JSON = {"content-type": "application/json"}
DEEP = [
    b"[" * 100_000,
    b"[" * 100_000 + b"]" * 100_000,
    b'{"a":' * 100_000 + b"1" + b"}" * 100_000,
    b'{"dataset": "a", "rows": ' + b"[" * 900 + b"]" * 900 + b"}",
    b'[{"data": ' + b'{"a":' * 1_500 + b"1" + b"}" * 1_500 + b"}]",
]


async def deployed(site: Site, **options: Any) -> None:
    await site.world.deploy(posted("a", **options), job("b", "a"))


async def post(
    site: Site, content: bytes, headers: Mapping[str, str] = JSON, who: str = "writer", **more: Any
) -> httpx2.Response:
    async with site.client(who, **headers) as client:
        return await client.post(more.get("path", "/sources/in"), content=content)


@pytest.mark.parametrize("sample", SAMPLES.values(), ids=SAMPLES)
async def test_each_format_takes_effect_once(site: Site, sample: Sample) -> None:
    await deployed(site, **sample.options)
    first = await post(site, sample.body, sample.headers)
    assert first.status_code == 200, first.text
    result = first.json()
    assert (result["messages"], result["events"], result["rejected"]) == (1, 1, [])
    before = await site.world.rows(STATE)
    again = (await post(site, sample.body, sample.headers)).json()
    assert (again["repeated"], again["invalidations"]) == (1, result["invalidations"])
    assert await site.world.rows(STATE) == before


async def test_an_openlineage_client_is_pointed_at_knockon(site: Site) -> None:
    await deployed(site, endpoint="openlineage", **LINEAGE)
    key = await key_for(site.world, "writer@example.com", KeyScope.INGEST)
    config = HttpConfig(url=site.url, auth=ApiKeyTokenProvider({"api_key": key}))
    client = OpenLineageClient(transport=HttpTransport(config))
    event = RunEvent(
        eventType=RunState.COMPLETE,
        eventTime="2013-02-14T00:00:00Z",
        run=Run(runId="01941f29-7c00-7087-8906-40e512c257bd"),
        job=Job(namespace="loads", name="nightly"),
        producer="https://example.com/loader",
        outputs=[OutputDataset(namespace="db", name="public.a")],
    )
    await asyncio.to_thread(client.emit, event)
    (row,) = await site.world.rows(
        "SELECT name FROM data_invalidations i JOIN datasets d ON d.id = i.dataset_uuid "
        "WHERE i.source_event ->> 'stream' = 'http/openlineage'"
    )
    assert row["name"] == "a"


async def test_rejected_messages_are_listed_and_become_dead_letters(site: Site) -> None:
    await deployed(site)
    body = encoded([{"dataset": "a", "partitions": [DAY]}, {"dataset": "nothing"}, 7])
    response = await post(site, body)
    assert response.status_code == 200
    assert [each["index"] for each in response.json()["rejected"]] == [1, 2]
    assert len((await site.get("/dead-letters"))["items"]) == 2


@pytest.mark.parametrize("body", DEEP, ids=range(len(DEEP)))
@pytest.mark.parametrize("sample", SAMPLES.values(), ids=SAMPLES)
async def test_a_deep_body_is_rejected(site: Site, sample: Sample, body: bytes) -> None:
    await deployed(site, **sample.options)
    response = await post(site, body, sample.headers)
    assert response.status_code == 200, response.text
    result = response.json()
    assert len(result["rejected"]) == result["messages"]
    async with site.client() as client:
        assert (await client.get("/dead-letters")).status_code == 200


async def test_empty_and_compressed_bodies(site: Site) -> None:
    await deployed(site)
    assert len((await post(site, b"")).json()["rejected"]) == 1
    response = await post(site, b"x", {**JSON, "content-encoding": "gzip"})
    problem_of(response, 415, "unsupported_encoding")


async def test_headers_with_any_bytes_are_harmless(site: Site) -> None:
    await deployed(site, format="cloudevents")
    headers = {
        b"ce-specversion": b"1.0",
        b"ce-id": b'"%00\\"',
        b"ce-source": b"\xff%0d%0aset-cookie: a=b",
        b"ce-type": b"x" * 3_000,
        b"content-type": b"application/json",
        b"authorization": f"Bearer {site.keys['writer']}".encode(),
    }
    async with httpx2.AsyncClient(base_url=site.url) as client:
        response = await client.post(
            "/api/v1/sources/in", content=b"{}", headers=[*headers.items()]
        )
    assert response.status_code == 200
    assert "set-cookie" not in response.headers
    (letter,) = (await site.get("/dead-letters"))["items"]
    assert site.keys["writer"] not in str(await site.get(f"/dead-letters/{letter['id']}"))


async def test_signed_requests(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KNOCKON_SECRET_SHOP", SECRET)
    await deployed(site, signing_secret="${SHOP}")
    body, now = encoded({"dataset": "a", "partitions": [DAY]}), str(int(time.time()))
    signed = {
        **JSON,
        "webhook-id": "msg_1",
        "webhook-timestamp": now,
        "webhook-signature": signature(f"msg_1.{now}.".encode() + body),
    }
    problem_of(await post(site, body), 403, "forbidden")
    problem_of(await post(site, body + b" ", signed), 403, "forbidden")
    assert (await post(site, body, signed)).json()["events"] == 1
    replayed = (await post(site, body, signed)).json()
    assert (replayed["repeated"], replayed["events"]) == (1, 0)
    old = str(int(time.time()) - 3_600)
    signed |= {
        "webhook-timestamp": old,
        "webhook-signature": signature(f"msg_1.{old}.".encode() + body),
    }
    problem_of(await post(site, body, signed), 403, "forbidden")
    assert (await site.get("/dead-letters"))["items"] == []


async def test_a_key_may_be_a_password(site: Site) -> None:
    await deployed(site)
    body = encoded({"dataset": "a", "partitions": [DAY]})
    credentials = httpx2.BasicAuth("any", site.keys["writer"])
    async with httpx2.AsyncClient(base_url=f"{site.url}/api/v1", auth=credentials) as client:
        assert (await client.post("/sources/in", content=body)).status_code == 200
        problem_of(await client.post("/invalidations", json={}), 401, "unauthenticated")
        problem_of(await client.get("/lineage"), 401, "unauthenticated")
    for text in ("x", "not base64!", b64encode(b"\xff").decode(), b64encode(b"kn_x").decode()):
        async with httpx2.AsyncClient(base_url=site.url) as client:
            headers = {"Authorization": f"Basic {text}"}
            response = await client.post("/api/v1/sources/in", content=body, headers=headers)
        problem_of(response, 401, "unauthenticated")


async def test_endpoints_of_two_orgs_are_separate(site: Site) -> None:
    await deployed(site)
    await site.other.deploy(posted("theirs"), dag="their_dag")
    ours, theirs = encoded({"dataset": "a"}), encoded({"dataset": "theirs"})
    assert (await post(site, ours)).json()["events"] == 1
    assert (await post(site, theirs, who="other.writer")).json()["events"] == 1
    rejected = (await post(site, theirs)).json()["rejected"]
    assert len(rejected) == 1
    missing = encoded({"dataset": "missin"})
    unknown = (await post(site, missing)).json()["rejected"]
    error = rejected[0]["error"].replace("theirs", "missin")
    assert error.partition(":")[0] == unknown[0]["error"].partition(":")[0]


async def test_an_unknown_endpoint(site: Site) -> None:
    await site.other.deploy(posted("theirs"), dag="their_dag")
    for path in ("/sources/in", "/sources/%00", "/lineage"):
        problem_of(await post(site, b"{}", path=path), 404, "unknown_name")
    problem_of(await post(site, b"{}", path="/sources/" + "x" * 600), 422, "invalid_input")
    problem_of(await post(site, b"{}", path="/sources/a/b"), 404, "unknown_path")


async def test_a_reader_may_not_ingest(site: Site) -> None:
    await deployed(site)
    problem_of(await post(site, b"{}", who="reader"), 403, "forbidden")
    worker = await key_for(site.world, "writer@example.com", KeyScope.WORKER)
    async with site.client_of(worker) as client:
        problem_of(await client.post("/sources/in", content=b"{}"), 403, "forbidden")
    assert msgspec.json.encode(await site.get("/dead-letters"))
