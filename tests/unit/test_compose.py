"""Properties of the compose file and the Dockerfile that need no engine to check.

`make containers` checks the resulting containers on an engine.
"""

import inspect
import re
import subprocess
import sys
from datetime import timedelta
from typing import Any

import pytest

from engine.worker import worker
from engine.worker.worker import Worker
from tests.support.compose import ROOT, services

SERVERS = {"postgres", "kafka"}
KNOCKON = {"engine", "consumers", "worker", "http"}
_UNITS = {"s": 1, "m": 60, "h": 3600}


def duration(text: str) -> timedelta:
    parts = re.findall(r"(\d+)([smh])", text)
    assert "".join(f"{count}{unit}" for count, unit in parts) == text
    return timedelta(seconds=sum(int(count) * _UNITS[unit] for count, unit in parts))


def test_every_service_is_covered() -> None:
    assert set(services()) == SERVERS | KNOCKON | {"migrate"}


@pytest.mark.parametrize("name", sorted(SERVERS | KNOCKON))
def test_a_service_restarts_after_a_reboot(name: str) -> None:
    assert services()[name]["restart"] == "unless-stopped"


def test_a_worker_is_not_killed_while_it_drains() -> None:
    drain = inspect.signature(Worker).parameters["grace_seconds"].default
    seconds = drain + worker._HAND_BACK_SECONDS
    for name in sorted(KNOCKON):
        assert duration(services()[name]["stop_grace_period"]) > timedelta(seconds=seconds + 5)


@pytest.mark.parametrize("name", sorted(SERVERS))
def test_a_server_has_time_to_close_its_files(name: str) -> None:
    assert duration(services()[name]["stop_grace_period"]) >= timedelta(seconds=60)


@pytest.mark.parametrize("name", sorted(KNOCKON))
def test_health_is_reported_by_the_process_itself(name: str) -> None:
    service = services()[name]
    assert service["healthcheck"]["test"] == ["CMD", "python", "-m", "engine.monitor.probe"]
    assert service["environment"]["KNOCKON_MONITOR_ADDRESS"]
    # The service with users is published on loopback only.
    assert service.get("ports", []) == (["127.0.0.1:8321:8321"] if name == "http" else [])


def test_the_check_of_the_broker_starts_no_jvm() -> None:
    command = " ".join(services()["kafka"]["healthcheck"]["test"])
    assert ".sh" not in command
    assert "java" not in command


@pytest.mark.parametrize("name", sorted(SERVERS | KNOCKON))
def test_a_frozen_service_is_unhealthy_within_a_minute(name: str) -> None:
    """start_period allows for a slow start; retries would also delay every later detection."""
    check = services()[name]["healthcheck"]
    period = duration(check["interval"]) + duration(check["timeout"])
    assert check["retries"] * period <= timedelta(minutes=1)
    assert duration(check["start_period"]) >= timedelta(minutes=1)


def test_one_image_is_built_once() -> None:
    ours = KNOCKON | {"migrate"}
    assert {services()[name]["image"] for name in ours} == {"knockon"}
    assert [name for name, service in services().items() if "build" in service] == ["migrate"]
    assert all(services()[name]["pull_policy"] == "never" for name in ours)


@pytest.mark.parametrize("name", sorted(SERVERS))
def test_the_version_of_a_server_is_pinned(name: str) -> None:
    assert re.fullmatch(r"[\w/-]+:\d[\d.]*", services()[name]["image"])


def test_a_password_is_set_in_one_place() -> None:
    assert services()["postgres"]["environment"]["POSTGRES_PASSWORD"] in _database_url()
    assert "${KNOCKON_PASSWORD" in _database_url()


def test_no_schema_has_the_name_of_the_role() -> None:
    """PostgreSQL creates a role's tables in the schema with the role's name, if it exists."""
    assert services()["postgres"]["environment"]["POSTGRES_USER"] != "knockon"
    assert "//postgres:" in _database_url()


def _database_url() -> str:
    return str(services()["engine"]["environment"]["KNOCKON_DATABASE_URL"])


def _stages() -> list[list[str]]:
    """The instructions of each stage of the Dockerfile, one per line."""
    lines = (ROOT / "Dockerfile").read_text().replace("\\\n", "").splitlines()
    stages: list[list[str]] = []
    for line in filter(None, lines):
        if line.startswith("FROM "):
            stages.append([])
        if not line.startswith("#"):
            stages[-1].append(line)
    return stages


def test_dependencies_are_installed_before_the_source_is_copied() -> None:
    dependencies, wheel, image = _stages()
    assert [line for line in dependencies if line.startswith("COPY")] == [
        "COPY pyproject.toml /tmp/"
    ]
    assert any("pip install" in line for line in dependencies)
    first_source = next(i for i, line in enumerate(wheel) if line.startswith("COPY engine"))
    assert not any("pip install" in line for line in wheel[first_source:])
    assert all("--no-deps" in line for line in image if "pip install" in line)


def test_the_image_contains_all_sources_of_the_wheel() -> None:
    """.dockerignore is an allowlist; directories outside of the list cannot be copied."""
    admitted = {
        line.removeprefix("!")
        for line in (ROOT / ".dockerignore").read_text().splitlines()
        if line.startswith("!")
    }
    copied = {
        name
        for stage in _stages()
        for line in stage
        if line.startswith("COPY ") and "--from" not in line
        for name in line.split()[1:-1]
    }
    assert copied == admitted


def test_the_dockerfile_lists_the_dependencies_of_the_project() -> None:
    """The script in the Dockerfile that reads the dependencies is run unchanged."""
    import tomllib

    (script,) = re.findall(r'python -c "(.*?)"', " ".join(_stages()[0]))
    source = script.replace("/tmp/pyproject.toml", str(ROOT / "pyproject.toml"))
    done = subprocess.run(
        [sys.executable, "-c", source], capture_output=True, text=True, check=True
    )
    project: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert done.stdout.splitlines() == project["dependencies"]
