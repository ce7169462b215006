"""Where the demo plays: an open session, and the broker beside it."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from engine.cli.runtime.services import Service
from engine.cli.runtime.session import Session
from engine.embedded.broker import Broker
from engine.errors import ServiceUnavailable
from engine.store.run import Row, fetch

_POLL_SECONDS = 0.02
_PATIENCE_SECONDS = 30.0


@dataclass(frozen=True, slots=True)
class Stage:
    """An org of a database, and a broker."""

    session: Session
    broker: Broker

    async def fetch(self, name: str, **params: Any) -> list[Row]:
        """Run one of the demo's statements for the org."""
        async with self.session.connection() as conn:
            return await fetch(conn, f"demo.{name}", org_id=self.session.org_context.id, **params)

    async def now(self) -> datetime:
        """The time by the database's clock."""
        (row,) = await self.fetch("now")
        moment: datetime = row["now"]
        return moment

    async def heard(self, since: datetime, *datasets: str) -> list[UUID]:
        """Wait until the word of a change to each dataset is there; the invalidations since.

        Raises ServiceUnavailable when it is not after half a minute.
        """
        try:
            async with asyncio.timeout(_PATIENCE_SECONDS):
                while True:
                    rows = await self.fetch("heard", since=since)
                    if {row["dataset"] for row in rows} >= set(datasets):
                        return [row["id"] for row in rows]
                    await asyncio.sleep(_POLL_SECONDS)
        except TimeoutError as error:
            raise ServiceUnavailable(
                f"no change to {', '.join(datasets)} was heard of in {_PATIENCE_SECONDS:.0f} "
                "seconds: look into 'knockon dead-letters', and whether the broker is well"
            ) from error


@asynccontextmanager
async def running(*services: Service) -> AsyncIterator[None]:
    """Run services meanwhile; each finishes what it has in hand.

    Raises what goes wrong first, in them or beside them.
    """
    stop = asyncio.Event()
    try:
        async with asyncio.TaskGroup() as group:
            for service in services:
                group.create_task(_coroutine(service, stop))
            try:
                yield
            finally:
                stop.set()
    except ExceptionGroup as failures:
        raise failures.exceptions[0] from None


async def _coroutine(service: Service, stop: asyncio.Event) -> None:
    await service(stop)
