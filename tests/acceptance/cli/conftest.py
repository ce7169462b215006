"""The executable, run as a child process on a database of the test."""

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
import pytest

EXECUTABLE = Path(sys.executable).with_name("knockon")
MINIMAL = Path(__file__).parents[3] / "examples" / "minimal" / "dag.yaml"
PATIENCE_SECONDS = 120


@dataclass(frozen=True)
class Result:
    """The result of a command."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


@dataclass(frozen=True)
class Knockon:
    """The executable with a separate environment."""

    env: dict[str, str]

    def __call__(self, *args: object, code: int = 0, stdin: str | None = None) -> Result:
        """Run a command; it must exit with ``code``."""
        done = subprocess.run(
            [EXECUTABLE, *map(str, args)],
            env=self.env,
            input=stdin,
            capture_output=True,
            text=True,
            timeout=PATIENCE_SECONDS,
            check=False,
        )
        result = Result(done.returncode, done.stdout, done.stderr)
        assert result.code == code, result
        assert "Traceback" not in result.err, result.err
        return result

    @contextmanager
    def running(self, *args: str, until: str) -> Iterator["Service"]:
        """Run a service until the end of the block, after a line of output with ``until``."""
        child = subprocess.Popen(
            [EXECUTABLE, *args],
            env=self.env,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        service = Service(child)
        try:
            service.wait_for(until)
            yield service
        finally:
            if child.poll() is None:
                service.stop()


@dataclass(frozen=True)
class Service:
    """A command that runs until a signal."""

    child: "subprocess.Popen[str]"

    def wait_for(self, text: str) -> list[str]:
        """Read until a line with the text; return the lines."""
        assert self.child.stdout is not None
        lines = []
        for line in self.child.stdout:
            lines.append(line)
            if text in line:
                return lines
        raise AssertionError(f"it ended without {text!r}: {lines}")

    def stop(self, how: signal.Signals = signal.SIGTERM) -> int:
        """Send a signal, and return the exit code."""
        self.child.send_signal(how)
        self.child.communicate(timeout=PATIENCE_SECONDS)
        return self.child.returncode


def environment(tmp_path: Path, **more: str) -> dict[str, str]:
    """An environment with only the given settings, and a wide terminal."""
    own = {name: value for name, value in os.environ.items() if not name.startswith("KNOCKON_")}
    return own | {"KNOCKON_HOME": str(tmp_path / "home"), "COLUMNS": "200"} | more


@pytest.fixture
def address() -> str:
    """A free address."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        return f"127.0.0.1:{free.getsockname()[1]}"


@pytest.fixture
def knockon(database_url: str, tmp_path: Path) -> Knockon:
    """The executable on a new database with the schema."""
    return Knockon(environment(tmp_path, KNOCKON_DATABASE_URL=database_url))


@pytest.fixture
def shop(knockon: Knockon, database_url: str) -> Knockon:
    """The executable with the minimal DAG deployed and its source table created."""
    with psycopg.connect(database_url, autocommit=True) as conn:
        conn.execute(
            "CREATE TABLE orders (id int PRIMARY KEY, ordered_at date, amount int, notes text)"
        )
    knockon("deploy", MINIMAL)
    return knockon
