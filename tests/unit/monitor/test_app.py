"""Responses of the monitor."""

from collections.abc import AsyncIterator

import httpx2
import pytest
from prometheus_client.parser import text_string_to_metric_families

from engine.monitor import pulse as pulse_module
from engine.monitor.app import ReadinessCheck, monitor
from engine.monitor.metrics import TASKS_REAPED
from engine.monitor.pulse import pulsing


def _client(**checks: ReadinessCheck) -> httpx2.AsyncClient:
    transport = httpx2.ASGITransport(monitor("acme", checks))
    return httpx2.AsyncClient(transport=transport, base_url="http://monitor")


@pytest.fixture
async def client() -> AsyncIterator[httpx2.AsyncClient]:
    async with _client() as client:
        yield client


async def test_running_loops_are_healthy(client: httpx2.AsyncClient) -> None:
    with pulsing("plan", 1.0):
        answer = await client.get("/healthz")
    assert (answer.status_code, answer.json()) == (200, {"status": "ok"})


async def test_a_stuck_loop_is_named(client: httpx2.AsyncClient) -> None:
    with pulsing("plan", 1.0) as hanging, pulsing("reap", 5.0), pulsing("trim", 3600.0) as slow:
        hanging.last -= 301
        slow.last -= 3601
        answer = await client.get("/healthz")
        assert answer.status_code == 503
        assert answer.json()["problems"] == {"plan": "has not completed a cycle for 301 seconds"}
        hanging.beat()
        assert (await client.get("/healthz")).status_code == 200


async def test_a_loop_that_ended_is_ignored(client: httpx2.AsyncClient) -> None:
    with pulsing("kafka", 1.0) as ended:
        ended.last -= 1000
    assert (await client.get("/healthz")).status_code == 200
    assert pulse_module.pulses() == ()


async def test_a_waiting_process_is_alive_but_not_ready(client: httpx2.AsyncClient) -> None:
    with pulsing("kafka", 1.0, waits_for="has not joined its group") as kafka:
        assert (await client.get("/healthz")).status_code == 200
        answer = await client.get("/readyz")
        assert answer.status_code == 503
        assert answer.json()["problems"] == {"kafka": "has not joined its group"}
        kafka.waits_for = None
        assert (await client.get("/readyz")).status_code == 200


async def test_a_missing_dependency_makes_the_process_unready() -> None:
    async def away() -> str | None:
        return "does not answer"

    async def there() -> str | None:
        return None

    async with _client(database=away, other=there) as client:
        answer = await client.get("/readyz")
    assert (answer.status_code, answer.json()["problems"]) == (503, {"database": "does not answer"})


async def test_metrics_have_the_org_and_include_those_of_python(client: httpx2.AsyncClient) -> None:
    TASKS_REAPED.inc()
    with pulsing("plan", 1.0):
        text = (await client.get("/metrics")).text
    found = {each.name: each for each in text_string_to_metric_families(text)}
    (reaped,) = found["knockon_tasks_reaped"].samples
    assert reaped.labels == {"org": "acme"}
    assert reaped.value >= 1
    (age,) = found["knockon_loop_age_seconds"].samples
    assert age.labels == {"org": "acme", "loop": "plan"}
    assert all("org" not in each.labels for each in found["python_info"].samples)
    assert "_created" not in text


async def test_openmetrics_are_returned_on_request(client: httpx2.AsyncClient) -> None:
    accept = {"accept": "application/openmetrics-text; version=1.0.0"}
    answer = await client.get("/metrics", headers=accept)
    assert answer.headers["content-type"].startswith("application/openmetrics-text")
    assert answer.text.endswith("# EOF\n")
