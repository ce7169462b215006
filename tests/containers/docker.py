"""A Docker engine: a reachable engine, or a private engine that ends with the tests."""

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Self

import pytest

from engine.errors import ServiceUnavailable
from tests.support.servers import docker_answers

_START_SECONDS = 60.0
_STOP_SECONDS = 60.0
_PROGRAMS = ("dockerd", "containerd", "runc", "iptables")
_MISSING = (
    "no Docker engine is reachable, and none can be started here: {}. "
    "On Debian: apt-get install docker.io iptables debootstrap"
)


class PrivateEngine:
    """A dockerd on a private socket, so that other programs cannot use it by accident.

    Images stay in `directory`. Raises ServiceUnavailable if dockerd cannot run.
    """

    def __init__(self, directory: Path) -> None:
        if os.geteuid() != 0:
            raise ServiceUnavailable(_MISSING.format("only root can start one"))
        if lacking := [name for name in _PROGRAMS if shutil.which(name) is None]:
            raise ServiceUnavailable(_MISSING.format(f"{', '.join(lacking)} not installed"))
        directory.mkdir(parents=True, exist_ok=True)
        self._directory = directory
        self._process: subprocess.Popen[bytes] | None = None
        self.host = f"unix://{directory}/docker.sock"

    def start(self) -> Self:
        """Start dockerd on its existing images and containers, and return when it responds."""
        where = self._directory
        (where / "pid").unlink(missing_ok=True)
        options = [
            f"--host={self.host}",
            *(f"--{name}={where / name}" for name in ("data-root", "exec-root")),
            f"--pidfile={where / 'pid'}",
            "--storage-driver=overlay2",
        ]
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                ["dockerd", *options], stdout=log, stderr=log, start_new_session=True
            )
        self._wait(self._process)
        return self

    def stop(self) -> None:
        """Stop dockerd and its containers."""
        if self._process is not None:
            self._process.terminate()
            self._process.wait(_STOP_SECONDS)
            self._process = None

    def kill(self, containers: list[int]) -> None:
        """Kill dockerd, containerd and the containers' main processes, as a power cut does."""
        assert self._process is not None
        self._process.kill()
        self._process.wait(_STOP_SECONDS)
        self._process = None
        record = self._directory / "exec-root" / "containerd" / "containerd.pid"
        for pid in [int(record.read_text()), *containers]:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        # A reboot empties /run; dockerd would wait for the zombie of its old containerd.
        record.unlink()

    @property
    def _log(self) -> Path:
        return self._directory / "dockerd.log"

    def _wait(self, process: "subprocess.Popen[bytes]") -> None:
        deadline = time.monotonic() + _START_SECONDS
        environment = os.environ | {"DOCKER_HOST": self.host}
        while subprocess.run(
            ["docker", "version"], env=environment, capture_output=True
        ).returncode:
            if process.poll() is not None or time.monotonic() > deadline:
                process.kill()
                last = self._log.read_text(errors="replace").splitlines()[-3:]
                raise ServiceUnavailable(_MISSING.format("\n".join(last)))
            time.sleep(0.2)


ENGINE = pytest.StashKey[PrivateEngine | None]()
"""The private engine of a session of pytest; here, because pytest imports conftest.py once more."""


@contextmanager
def docker_engine(directory: Path) -> Iterator[PrivateEngine | None]:
    """Set DOCKER_HOST to an engine; yields a private engine. Raises ServiceUnavailable."""
    if docker_answers():
        yield None
        return
    engine = PrivateEngine(directory).start()
    os.environ["DOCKER_HOST"] = engine.host
    docker_answers.cache_clear()
    try:
        yield engine
    finally:
        os.environ.pop("DOCKER_HOST")
        docker_answers.cache_clear()
        engine.stop()
