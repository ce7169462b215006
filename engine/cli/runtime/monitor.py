"""Metrics and health of a process, served if an address is configured."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from typing import Annotated

import psycopg
import typer
from psycopg_pool import PoolTimeout

from engine.cli.runtime.session import Session
from engine.errors import KnockonError

Monitor = Annotated[
    str | None,
    typer.Option(
        "--monitor",
        metavar="HOST:PORT",
        help="Serve /metrics, /healthz and /readyz; default: KNOCKON_MONITOR_ADDRESS.",
        show_default=False,
    ),
]

_PATIENCE_SECONDS = 3.0


@asynccontextmanager
async def monitored(session: Session, *, has_engine: bool) -> AsyncIterator[None]:
    """Serve metrics and health, with gauges of the database for an engine.

    Raises the errors of `WebServer`.
    """
    address = session.settings.monitor_address
    if address is None:
        yield
        return
    from engine.monitor.app import monitor
    from engine.monitor.backlog_gauges import BacklogGauges
    from engine.web_server import WebServer

    org_id = None if session.org.is_all else session.org.id
    backlog = BacklogGauges(session.database, org_id) if has_engine else None
    app = monitor(session.settings.org, {"database": partial(_problem, session)}, backlog)
    server, stop = WebServer(app, address), asyncio.Event()
    async with asyncio.TaskGroup() as group:
        group.create_task(server.run(stop))
        try:
            yield
        finally:
            stop.set()


async def _problem(session: Session) -> str | None:
    """The reason the database is not ready, if any."""
    try:
        async with asyncio.timeout(_PATIENCE_SECONDS):
            missing = await session.service.missing_migrations()
    except (KnockonError, psycopg.Error, PoolTimeout, TimeoutError) as error:
        return str(error).strip() or "does not answer"
    return f"lacks migrations {', '.join(missing)}" if missing else None
