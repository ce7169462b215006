"""Metrics and health of the process that serves them, where an address for them is set."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from typing import Annotated

import psycopg
import typer
from psycopg_pool import PoolTimeout

from engine.cli.session import Session

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
    """Serve meanwhile; an engine tells of the database, too. Raises as `MonitorServer` does."""
    address = session.settings.monitor_address
    if address is None:
        yield
        return
    from engine.monitor.app import monitor
    from engine.monitor.backlog_gauges import BacklogGauges
    from engine.monitor.server import MonitorServer

    backlog = BacklogGauges(session.database, session.org_context.id) if has_engine else None
    app = monitor(session.settings.org, {"database": partial(_lack, session)}, backlog)
    server, over = MonitorServer(app, address), asyncio.Event()
    async with asyncio.TaskGroup() as group:
        group.create_task(server.run(over))
        try:
            yield
        finally:
            over.set()


async def _lack(session: Session) -> str | None:
    """What the database lacks for work to be done."""
    try:
        async with asyncio.timeout(_PATIENCE_SECONDS):
            lacking = await session.service.missing_migrations()
    except (psycopg.Error, PoolTimeout, TimeoutError) as error:
        return str(error).strip() or "does not answer"
    return f"lacks migrations {', '.join(lacking)}" if lacking else None
