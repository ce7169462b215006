"""PgBouncer before a test's database; tests skip where it is not installed."""

import asyncio
import os
import shutil
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Literal

import pytest
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from engine.embedded.broker import free_port
from engine.embedded.child_process import ChildProcess
from engine.embedded.drop_privileges import drop_privileges

_POOLER = """
[databases]
* = host={host} port={port} user={user}{password}
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {listen_port}
unix_socket_dir =
auth_type = any
ignore_startup_parameters = extra_float_digits
"""


def _listens(port: int) -> bool:
    with socket.socket() as client:
        return client.connect_ex(("127.0.0.1", port)) == 0


@asynccontextmanager
async def pooler(
    url: str,
    directory: Path,
    *,
    pool_mode: Literal["transaction", "session", "statement"] = "transaction",
    default_pool_size: int = 20,
    server_round_robin: bool = False,
) -> AsyncIterator[str]:
    """The address of a database behind PgBouncer, with settings of PgBouncer."""
    program = shutil.which("pgbouncer", path="/usr/sbin:/usr/local/sbin:" + os.environ["PATH"])
    if program is None:
        pytest.skip("install PgBouncer")
    server, port = conninfo_to_dict(url), free_port()
    file = directory / "pgbouncer.ini"
    settings = {
        "host": server["host"],
        "port": server.get("port", 5432),
        "user": server.get("user", "postgres"),
        "password": f" password={server['password']}" if "password" in server else "",
        "listen_port": port,
    }
    file.write_text(
        _POOLER.format(**settings)
        + f"pool_mode = {pool_mode}\ndefault_pool_size = {default_pool_size}\n"
        + f"server_round_robin = {int(server_round_robin)}\n"
    )
    child = ChildProcess(
        drop_privileges([program, str(file)]), stop_signal="TERM", log=directory / "pooler.log"
    )
    while not _listens(port):
        assert child.running, (directory / "pooler.log").read_text()
        await asyncio.sleep(0.05)
    try:
        address = {name: value for name, value in server.items() if name != "options"}
        yield make_conninfo(**address | {"host": "127.0.0.1", "port": port})
    finally:
        child.stop(10)
