"""Sharing the embedded database: whoever started it stops it, and not under others' feet.

Every user holds a shared lock on a file for as long as it uses the server. A command that started
the server waits at its end until the others are gone; `knockon up` waits at its beginning, so that
it is always the one who starts it.
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
"""A guest comes and goes; a service stays and bears outages; the host keeps the server."""

_PATIENCE_SECONDS = 30.0


@contextmanager
def embedded_database(home: Path, role: Role) -> Iterator[str]:
    """The address of the server under a home. Raises ServiceUnavailable."""
    home.mkdir(parents=True, exist_ok=True)
    with (home / "postgres.users").open("w") as users:
        if role == "host":
            _wait_to_be_alone(users, home)
        fcntl.flock(users, fcntl.LOCK_SH)
        with EmbeddedPostgres(home / "postgres", durable=True) as server:
            try:
                yield server.url
            finally:
                if role == "guest" and server.is_ours:
                    fcntl.flock(users, fcntl.LOCK_EX)


def _wait_to_be_alone(users: IO[str], home: Path) -> None:
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
