"""Shared use of the embedded database, stopped by the command that started it.

Every command holds a shared lock on a file while using the server. The command that started the
server waits at the end for the other commands; `knockon up` waits at the start, so that `up` always
is the command that starts the server.
"""

import fcntl
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Literal

from engine.embedded.postgres import EmbeddedPostgres
from engine.errors import ServiceUnavailable

Role = Literal["guest", "service", "host"]
"""A guest is a short command; a service runs through outages; the host owns the server."""

_PATIENCE_SECONDS = 30.0


@contextmanager
def embedded_database(home: Path, role: Role) -> Iterator[str]:
    """The address of the server of a home directory. Raises ServiceUnavailable."""
    home.mkdir(parents=True, exist_ok=True)
    with (home / "postgres.users").open("w") as users:
        if role == "host":
            _wait_for_exclusive_use(users, home)
        fcntl.flock(users, fcntl.LOCK_SH)
        with EmbeddedPostgres(home / "postgres", durable=True) as server:
            try:
                yield server.url
            finally:
                if role == "guest" and server.is_ours:
                    fcntl.flock(users, fcntl.LOCK_EX)


def require_embedded_database(home: Path) -> None:
    """Raise ServiceUnavailable if there is no database yet, as in a wrong directory."""
    if not (home / "postgres").exists():
        raise ServiceUnavailable(
            f"there is no embedded database in {home.resolve()}: run the command in the directory "
            "of 'knockon up', or set KNOCKON_HOME or KNOCKON_DATABASE_URL; 'knockon deploy FILE' "
            "creates a database"
        )


def _wait_for_exclusive_use(users: IO[str], home: Path) -> None:
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while True:
        try:
            fcntl.flock(users, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > deadline:
                raise ServiceUnavailable(
                    f"another knockon uses the database under {home}: stop it, or set another "
                    "KNOCKON_HOME"
                ) from None
            time.sleep(0.1)
        else:
            return
