"""Metrics and health of processes."""

import socket

import httpx2
import psycopg
import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.acceptance.cli.conftest import Knockon


@pytest.fixture
def address() -> str:
    with socket.create_server(("127.0.0.1", 0)) as free:
        return f"127.0.0.1:{free.getsockname()[1]}"


def _metrics(address: str) -> dict[tuple[str, ...], float]:
    """The samples of the default org, by name and other labels."""
    text = httpx2.get(f"http://{address}/metrics").text
    return {
        (
            sample.name,
            *(value for name, value in sample.labels.items() if name != "org"),
        ): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def test_a_process_reports_health_and_metrics(
    shop: Knockon, database_url: str, address: str
) -> None:
    with psycopg.connect(database_url, autocommit=True) as conn:
        conn.execute("INSERT INTO orders VALUES (1, '2026-02-03', 10, '')")
    with (
        shop.running("engine", "--monitor", address, until="engine is up") as engine,
        shop.running("worker", until="worker is up"),
    ):
        for question in ("healthz", "readyz"):
            assert httpx2.get(f"http://{address}/{question}").json() == {"status": "ok"}
        shop("invalidate", "orders", "-p", "2026-02-03", "--wait")
        told = _metrics(address)
        assert told["knockon_plans_total", "applied"] == 1
        assert told["knockon_invalidations_planned_total",] == 1
        assert told["knockon_database_up",] == 1
        assert {name[1] for name in told if name[0] == "knockon_loop_age_seconds"} >= {
            "plan",
            "reap",
            "release",
            "schedule",
            "trim",
        }
        assert engine.stop() == 0


def test_up_reports_metrics_of_its_workers(shop: Knockon, address: str) -> None:
    with shop.running("up", "--workers", "2", "--monitor", address, until="worker is up") as up:
        told = _metrics(address)
        assert told["knockon_worker_slots",] == 4
        assert ("knockon_tasks", "queued") in told
        assert up.stop() == 0


def test_an_address_in_use_is_reported(shop: Knockon) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        where = f"127.0.0.1:{taken.getsockname()[1]}"
        assert "cannot listen" in shop("engine", "--monitor", where, code=1).err
    assert "host:port" in shop("worker", "--monitor", "nowhere", code=1).err
