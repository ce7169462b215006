"""SIGKILL for a PostgreSQL server and all of its processes, like a machine failure."""

import os
import signal
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from engine.embedded.postgres import EmbeddedPostgres


def kill_postgres(server: EmbeddedPostgres) -> int:
    """Kill the server and return the number of its processes; a restart is possible."""
    postmaster = int((server.data_dir / "postmaster.pid").read_text().split("\n", 1)[0])
    family = [postmaster, *_children(postmaster)]
    for pid in family:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    server.stop()
    return len(family)


def _children(parent: int) -> Iterator[int]:
    for status in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            pid, _, rest = status.read_text().partition(" (")
            if rest.rpartition(") ")[2].split()[1] == str(parent):
                yield int(pid)
