"""Processes of `knockon` that tests kill, freeze and restart."""

import multiprocessing
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from types import MappingProxyType

_BIN = Path(sys.executable).parent
EXECUTABLE = _BIN / "knockon"
_TIMEOUT_SECONDS = 90.0

_FORKING = multiprocessing.get_context("forkserver")
_FORKING.set_forkserver_preload(
    [
        "__main__",
        __name__,
        *(f"engine.cli.commands.{command}" for command in ("engine", "worker", "consume", "serve")),
    ]
)
"""Processes are forked from one that has imported the services, which takes seconds."""


class Processes:
    """Running services by name: `engine`, or `worker-2` for a second process of a kind.

    Each process writes to a log file in `directory`. `patches` maps a kind to Python code to run
    before the service starts.
    """

    def __init__(
        self,
        environment: Mapping[str, str],
        directory: Path,
        patches: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        self.environment = environment
        self._patches = patches
        self._directory = directory
        self._children: dict[str, ForkServerProcess] = {}
        self._quiet: dict[str, int] = {}

    def start(self, *names: str, patch: str = "", **environment: str) -> None:
        for name in names:
            kind = name.partition("-")[0]
            log = self.log_of(name)
            log.touch()
            self._quiet[name] = log.stat().st_size
            env = {**self.environment, **environment}
            prelude = self._patches.get(kind, "") + patch
            self._children[name] = _FORKING.Process(target=_serve, args=(kind, env, log, prelude))
            self._children[name].start()

    def kill(self, name: str) -> None:
        child = self._children.pop(name)
        child.kill()
        child.join()

    def restart(self, name: str) -> None:
        self.kill(name)
        self.start(name)

    def freeze(self, name: str) -> None:
        os.kill(self.pid(name), signal.SIGSTOP)

    def thaw(self, name: str) -> None:
        os.kill(self.pid(name), signal.SIGCONT)

    def pid(self, name: str) -> int:
        pid = self._children[name].pid
        assert pid is not None
        return pid

    @property
    def running(self) -> list[str]:
        return list(self._children)

    def log_of(self, name: str) -> Path:
        return self._directory / f"{name}.log"

    def logged(self, name: str, text: str) -> bool:
        """Check for a text in the log file of all processes of this name so far."""
        return text in self.log_of(name).read_text(errors="replace")

    def call(self, *args: str) -> str:
        """Run a command to completion and return its output."""
        completed = subprocess.run(
            [EXECUTABLE, *args], env=self.environment, capture_output=True, text=True, check=False
        )
        assert completed.returncode == 0, (
            f"knockon {' '.join(args)}: {completed.stderr or completed.stdout}"
        )
        return completed.stdout

    def drain(self) -> None:
        """End all processes by SIGTERM; every process past startup must exit with status 0."""
        for name, child in self._children.items():
            self._wait_for_output(name)
            child.terminate()
        for child in self._children.values():
            child.join(_TIMEOUT_SECONDS)
        codes = {name: child.exitcode for name, child in self._children.items()}
        self._children = {}
        assert set(codes.values()) <= {0}, f"SIGTERM drains: {codes}"

    def _wait_for_output(self, name: str) -> None:
        """Return at the first log output; signal handlers are not installed before."""
        deadline = time.monotonic() + _TIMEOUT_SECONDS
        while self.log_of(name).stat().st_size == self._quiet[name]:
            assert self._children[name].exitcode is None, f"{name} ended without output"
            assert time.monotonic() < deadline, f"{name} does not start"
            time.sleep(0.05)

    def kill_all(self) -> None:
        for name in self.running:
            self.kill(name)


@contextmanager
def processes(
    environment: Mapping[str, str],
    directory: Path,
    patches: Mapping[str, str] = MappingProxyType({}),
) -> Iterator[Processes]:
    """Start with no processes; drain all at the end, or kill them if the body failed."""
    started = Processes(environment, directory, patches)
    try:
        yield started
        started.drain()
    finally:
        started.kill_all()


def environment(database_url: str, **more: str) -> dict[str, str]:
    """Environment of the services: short leases, for early reaping of a killed worker's tasks."""
    return {
        **os.environ,
        "KNOCKON_DATABASE_URL": database_url,
        "KNOCKON_LEASE_SECONDS": "2",
        "KNOCKON_REAP_SECONDS": "0.5",
        **more,
    }


def _serve(kind: str, env: dict[str, str], log: Path, patch: str) -> None:
    """Become the service, with its log as standard output and error."""
    with log.open("ab") as file:
        os.dup2(file.fileno(), sys.stdout.fileno())
        os.dup2(file.fileno(), sys.stderr.fileno())
    program = f"{patch}\nfrom engine.cli import main\nmain()"
    if "LD_PRELOAD" in env:  # only a new program reads LD_PRELOAD
        os.execve(sys.executable, [sys.executable, "-c", program, kind], env)
    os.environ.clear()
    os.environ.update(env)
    sys.argv = [str(EXECUTABLE), kind]
    exec(program, {"__name__": "knockon"})
