"""The environment of the demo: an open session and a broker."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from engine.cli.runtime.session import Session
from engine.embedded.broker import Broker
from engine.errors import ServiceUnavailable
from engine.loops.orgs import Work
from engine.store.clock import load_now
from engine.store.rows.demo import DatasetInvalidation
from engine.store.run import fetch

_POLL_SECONDS = 0.02
_PATIENCE_SECONDS = 30.0


@dataclass(frozen=True, slots=True)
class Stage:
    """A session and a broker."""

    session: Session
    broker: Broker

    @property
    def org_id(self) -> UUID:
        """The id of the org."""
        return self.session.org_context.id

    async def now(self) -> datetime:
        """The time of the database's clock."""
        async with self.session.connection() as conn:
            return await load_now(conn)

    async def invalidations(self, since: datetime, *datasets: str) -> list[UUID]:
        """Wait for an invalidation of each dataset; return all invalidations since a time.

        Raises ServiceUnavailable after half a minute.
        """
        try:
            async with asyncio.timeout(_PATIENCE_SECONDS):
                while True:
                    async with self.session.connection() as conn:
                        rows = await fetch(
                            conn,
                            "demo.invalidations",
                            DatasetInvalidation,
                            org_id=self.org_id,
                            since=since,
                        )
                    if {row.dataset for row in rows} >= set(datasets):
                        return [row.id for row in rows]
                    await asyncio.sleep(_POLL_SECONDS)
        except TimeoutError as error:
            raise ServiceUnavailable(
                f"no change of {', '.join(datasets)} arrived within {_PATIENCE_SECONDS:.0f} "
                "seconds: check 'knockon dead-letters' and the broker"
            ) from error


@asynccontextmanager
async def running(*services: Work) -> AsyncIterator[None]:
    """Run services in the background; each finishes the current work at the end.

    Raises the first error, of a service or of the body.
    """
    stop = asyncio.Event()
    try:
        async with asyncio.TaskGroup() as group:
            for service in services:
                group.create_task(service(stop))
            try:
                yield
            finally:
                stop.set()
    except ExceptionGroup as failures:
        raise failures.exceptions[0] from None
