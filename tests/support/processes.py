"""Processes of the installed `knockon`, which can be killed, frozen and started again."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

_BIN = Path(sys.executable).parent
EXECUTABLE = _BIN / "knockon"
_PATIENCE_SECONDS = 90.0

Child = subprocess.Popen[bytes]


class Processes:
    """Running services by name: `engine`, or `worker-2` for a second one of a kind.

    Each writes to a log of its own in `directory`; `patch` is Python that runs ahead of it.
    """

    def __init__(self, environment: Mapping[str, str], directory: Path) -> None:
        self.environment = environment
        self._directory = directory
        self._children: dict[str, Child] = {}
        self._quiet: dict[str, int] = {}

    def start(self, *names: str, patch: str | None = None, **environment: str) -> None:
        for name in names:
            with self.log_of(name).open("ab") as log:
                self._quiet[name] = log.tell()
                self._children[name] = subprocess.Popen(
                    [*_command(patch), name.partition("-")[0]],
                    env={**self.environment, **environment},
                    stdout=log,
                    stderr=log,
                )

    def kill(self, name: str) -> None:
        child = self._children.pop(name)
        child.kill()
        child.wait()

    def restart(self, name: str) -> None:
        self.kill(name)
        self.start(name)

    def freeze(self, name: str) -> None:
        self._children[name].send_signal(signal.SIGSTOP)

    def thaw(self, name: str) -> None:
        self._children[name].send_signal(signal.SIGCONT)

    def pid(self, name: str) -> int:
        return self._children[name].pid

    @property
    def running(self) -> list[str]:
        return list(self._children)

    def log_of(self, name: str) -> Path:
        return self._directory / f"{name}.log"

    def logged(self, name: str, text: str) -> bool:
        """Whether a process of that name has ever logged it."""
        return text in self.log_of(name).read_text(errors="replace")

    def call(self, *args: str) -> str:
        """Run a command to its end, and give what it prints."""
        done = subprocess.run(
            [EXECUTABLE, *args], env=self.environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, f"knockon {' '.join(args)}: {done.stderr or done.stdout}"
        return done.stdout

    def drain(self) -> None:
        """End them all by SIGTERM, which has to end well for whoever has come up."""
        for name, child in self._children.items():
            self._wait_to_be_up(name)
            child.send_signal(signal.SIGTERM)
        codes = {name: child.wait(_PATIENCE_SECONDS) for name, child in self._children.items()}
        self._children = {}
        assert set(codes.values()) <= {0}, f"SIGTERM drains: {codes}"

    def _wait_to_be_up(self, name: str) -> None:
        """Return at its first word; until then it does not know what a signal means."""
        deadline = time.monotonic() + _PATIENCE_SECONDS
        while self.log_of(name).stat().st_size == self._quiet[name]:
            assert self._children[name].poll() is None, f"{name} ended without a word"
            assert time.monotonic() < deadline, f"{name} does not come up"
            time.sleep(0.05)

    def kill_all(self) -> None:
        for name in self.running:
            self.kill(name)


@contextmanager
def processes(environment: Mapping[str, str], directory: Path) -> Iterator[Processes]:
    """No processes yet; those that run in the end are drained, or killed if the body failed."""
    made = Processes(environment, directory)
    try:
        yield made
        made.drain()
    finally:
        made.kill_all()


def environment(database_url: str, **more: str) -> dict[str, str]:
    """What services are told: short leases, so that a killed worker's tasks come back soon."""
    return {
        **os.environ,
        "KNOCKON_DATABASE_URL": database_url,
        "KNOCKON_LEASE_SECONDS": "2",
        "KNOCKON_REAP_SECONDS": "0.5",
        **more,
    }


def _command(patch: str | None) -> list[str]:
    if patch is None:
        return [str(EXECUTABLE)]
    return [sys.executable, "-c", f"{patch}\nfrom engine.cli import main\nmain()"]
