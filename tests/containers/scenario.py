"""The stack of the compose file, as in docs/how-to/compose.md, through every kind of restart.

The tests share one stack and run in order: `make containers` starts them, not `make test`.
"""

import json
import os
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.containers.docker import PrivateEngine
from tests.containers.stack import Stack, inspect, until
from tests.support.compose import ROOT, services

pytestmark = pytest.mark.timeout(900)

DAG = """\
dag: shop
jobs:
  - name: prices
    activation: source
    source: {kind: kafka, topic: changes}
    outputs:
      - dataset: prices
        storage: {table: public.prices}
        columns: [sku, price]
  - name: price_list
    inputs: [prices]
    outputs: [{dataset: price_list, storage: {table: public.price_list}}]
    config: {sql: "SELECT sku, price FROM prices CROSS JOIN pg_sleep(SECONDS)"}
"""
EVENT = '{"dataset": "prices"}\n'
CHECKS = 10
AWAY_SECONDS = 90
DRAIN_SECONDS = 15
SERVICES = sorted(set(services()) - {"migrate"})


@pytest.fixture(scope="module")
def report() -> Iterator[list[str]]:
    lines: list[str] = []
    yield lines
    print("\nmeasured:", *lines, sep="\n  ")


@pytest.fixture(scope="module")
def stack(report: list[str]) -> Iterator[Stack]:
    stack = Stack(json.loads(os.environ["KNOCKON_TEST_COMPOSE"]))
    stack("down", "--volumes", "--remove-orphans")
    began = time.monotonic()
    stack("build")
    report.append(f"the image is built in {time.monotonic() - began:.0f} s")
    try:
        began = time.monotonic()
        stack("up", "--detach", "--wait", "--scale", "worker=2")
        report.append(f"the stack is healthy after {time.monotonic() - began:.0f} s")
        yield stack
    finally:
        (Path(os.environ["KNOCKON_TEST_LOG"])).write_text(stack("logs", "--no-color"))
        stack("down", "--volumes", "--remove-orphans", "--timeout", "5")


def test_a_dag_on_standard_input_is_deployed(stack: Stack) -> None:
    stack.sql("CREATE TABLE prices (sku text, price int)")
    stack.sql("INSERT INTO prices VALUES ('tea', 3)")
    assert "price_list" in deploy(stack)
    assert [dag["name"] for dag in json.loads(stack.knockon("status", "--json"))["dags"]] == [
        "shop"
    ]


def test_the_http_service_accepts_a_key(stack: Stack) -> None:
    stack.knockon("users", "add", "ann@example.com", "reader")
    created = stack.knockon("keys", "create", "ann@example.com", "test", "-s", "read", "--json")
    request = [
        "import urllib.request as u",
        f"r = u.Request('http://http:8321/api/v1/dags', headers={{'Authorization': "
        f"'Bearer {json.loads(created)['key']}'}})",
        "print(u.urlopen(r).read().decode())",
    ]
    answer = stack("exec", "-T", "engine", "python", "-c", "; ".join(request))
    assert [each["name"] for each in json.loads(answer)["items"]] == ["shop"]


def test_a_published_event_recomputes_its_readers(stack: Stack) -> None:
    change_price(stack, 4)
    until(lambda: price_of_tea(stack) == "4", "the price list after an event")
    assert json.loads(stack.knockon("dead-letters", "--json")) == []


def test_a_change_of_an_attached_table_reaches_its_readers(stack: Stack) -> None:
    """As in the README, with the commands of the how-to page."""
    example = ROOT / "examples" / "minimal"
    sources = (example / "sources.sql").read_text()
    database = ("--username", "postgres", "--dbname", "knockon")
    stack("exec", "-T", "postgres", "psql", *database, stdin=sources)
    stack.knockon("deploy", "-", stdin=(example / "dag.yaml").read_text())
    stack.knockon("attach", "public.orders", "--dataset", "orders")
    stack.sql("UPDATE orders SET amount = 1000 WHERE id = 2")
    sales = "SELECT count(*) FROM daily_sales WHERE sales > 1000"
    until(lambda: _value(stack, sales) == "1", sales)


def test_an_unchanged_stack_is_left_alone(stack: Stack) -> None:
    before = {name: stack.container(name) for name in SERVICES}
    stack("up", "--detach", "--wait", "--build", "--scale", "worker=2")
    assert {name: stack.container(name) for name in SERVICES} == before


def test_a_change_of_the_source_installs_no_dependency(
    stack: Stack, tmp_path: Path, report: list[str]
) -> None:
    context = tmp_path / "source"
    for line in (ROOT / ".dockerignore").read_text().splitlines():
        if line.startswith("!"):
            copy(ROOT / line[1:], context / line[1:])
    for name in ("Dockerfile", ".dockerignore"):
        copy(ROOT / name, context / name)
    (context / "engine" / "__init__.py").open("a").write("# changed\n")
    began = time.monotonic()
    build = ["docker", "build", "--quiet", "--tag", "knockon-changed", str(context)]
    subprocess.run(build, check=True, env=os.environ | {"DOCKER_BUILDKIT": "0"})
    report.append(f"after a change of the source it is built in {time.monotonic() - began:.0f} s")

    ours, changed = (inspect(image)["RootFS"]["Layers"] for image in ("knockon", "knockon-changed"))
    assert ours[:-2] == changed[:-2]
    assert ours[-1] != changed[-1]


def copy(source: Path, target: Path) -> None:
    if source.is_dir():
        shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"))
    else:
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(source, target)


@pytest.mark.parametrize("name", ["engine", "kafka", "postgres"])
def test_health_checks_are_cheap(stack: Stack, report: list[str], name: str) -> None:
    """CPU seconds of a check; `doctor` took 2.6, and a JVM more than one."""
    check = services()[name]["healthcheck"]["test"][1:]
    script = f'for i in $(seq {CHECKS}); do "$@" || exit 1; done; times'
    check = [each.replace("$$", "$") for each in check]
    told = stack("exec", "-T", name, "bash", "-c", script, "check", *check)
    user, system = re.findall(r"(\d+)m([\d.]+)s", told)[-2:]
    cpu = sum(60 * int(minutes) + float(seconds) for minutes, seconds in (user, system)) / CHECKS
    report.append(f"a health check of {name} takes {1000 * cpu:.0f} ms of CPU")
    assert cpu < 0.5


@pytest.mark.parametrize("name", ["engine", "kafka"])
def test_a_frozen_process_is_unhealthy(stack: Stack, report: list[str], name: str) -> None:
    pid = stack.state(name)["Pid"]
    os.kill(pid, signal.SIGSTOP)
    try:
        seconds = until(lambda: stack.health(name) == "unhealthy", f"{name} is unhealthy")
    finally:
        os.kill(pid, signal.SIGCONT)
    report.append(f"{name} is unhealthy {seconds:.0f} s after it was frozen")
    until(stack.is_healthy, f"{name} is healthy again")


def test_an_outage_of_kafka_keeps_services_healthy_and_logs_short(
    stack: Stack, report: list[str]
) -> None:
    stack("stop", "kafka")
    container = stack.container("consumers")
    since = subprocess.check_output(
        ["docker", "exec", container, "date", "-u", "+%Y-%m-%dT%H:%M:%SZ"], text=True
    ).strip()
    time.sleep(AWAY_SECONDS)
    logs = ["docker", "logs", "--since", since, container]
    lines = subprocess.run(logs, check=True, capture_output=True, text=True).stderr.splitlines()
    report.append(f"the consumers log {len(lines)} lines in {AWAY_SECONDS} s without Kafka")
    assert 1 <= len(lines) <= 12, lines
    assert stack.health("consumers") == "healthy"
    stack("start", "kafka")
    until(stack.is_healthy, "Kafka is back")
    change_price(stack, 5)
    until(lambda: price_of_tea(stack) == "5", "the price list after an outage")


def test_a_worker_finishes_its_task_when_it_is_stopped(stack: Stack) -> None:
    deploy(stack, seconds=DRAIN_SECONDS)
    until(lambda: tasks(stack)[0]["status"] == "running", "a task runs")
    containers = stack("ps", "--quiet", "worker").split()
    stack("stop", "worker")
    assert [inspect(each)["State"]["ExitCode"] for each in containers] == [0, 0]
    stack("start", "worker")
    newest, *_ = tasks(stack)
    assert (newest["status"], newest["attempts"]) == ("succeeded", 1)
    deploy(stack)


def test_psql_in_a_container_is_rejected_with_instructions(stack: Stack) -> None:
    told = stack.knockon("psql", code=1)
    assert "docker compose exec postgres psql" in told


def test_everything_restarts_after_a_power_cut(
    stack: Stack, private_engine: PrivateEngine, report: list[str]
) -> None:
    until(stack.is_healthy, "all is well before")
    containers = stack("ps", "--quiet").split()
    private_engine.kill([inspect(each)["State"]["Pid"] for each in containers])
    private_engine.start()
    seconds = until(stack.is_healthy, "the stack is back")
    report.append(f"the stack is healthy {seconds:.0f} s after the engine was killed and started")
    change_price(stack, 6)
    until(lambda: price_of_tea(stack) == "6", "the price list after a power cut")


def test_the_password_can_be_changed(stack: Stack) -> None:
    stack.sql("ALTER ROLE postgres PASSWORD 'battery-staple'")
    stack.variables = {"KNOCKON_PASSWORD": "battery-staple"}
    stack("up", "--detach", "--wait", "--scale", "worker=2")
    change_price(stack, 7)
    until(lambda: price_of_tea(stack) == "7", "the price list after another password")


def deploy(stack: Stack, seconds: int = 0) -> str:
    return stack.knockon("deploy", "-", stdin=DAG.replace("SECONDS", str(seconds)))


def tasks(stack: Stack) -> list[dict[str, Any]]:
    """The tasks of the price list, the newest first."""
    found = json.loads(stack.knockon("tasks", "--job", "price_list", "--json"))
    return list(found)


def price_of_tea(stack: Stack) -> str | None:
    return _value(stack, "SELECT price FROM price_list WHERE sku = 'tea'")


def _value(stack: Stack, query: str) -> str | None:
    try:
        return stack.sql(query)
    except AssertionError:  # not built yet, or the server is down
        return None


def change_price(stack: Stack, price: int) -> None:
    stack.sql(f"UPDATE prices SET price = {price}")
    producer = "/opt/kafka/bin/kafka-console-producer.sh"
    where = ("--bootstrap-server", "localhost:9092", "--topic", "changes")
    stack("exec", "-T", "kafka", producer, *where, stdin=EVENT)
