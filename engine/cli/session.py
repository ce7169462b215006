"""A command's way to the database: the one that is set, else the embedded one."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

import psycopg

from engine.cli.call import Call
from engine.cli.embedded import Role, embedded_database
from engine.errors import ServiceUnavailable
from engine.flow.shared.org_context import OrgContext
from engine.logs import configure_logs
from engine.secrets import hide_settings
from engine.service.caller import Caller, Org
from engine.service.service import Service
from engine.settings import Settings
from engine.store.database import Connection, Database

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Session:
    """An open service, its settings, and the org that the command acts for.

    Commands use ``service``; ``database`` and ``org_context`` are for processes.
    """

    settings: Settings
    service: Service
    org: Org

    def caller(self, user: str | None = None) -> Caller:
        """Return the local user, by a name if decisions are to be recorded with it."""
        return Caller.local(self.org, user)

    @property
    def database(self) -> Database:
        """Return the database of the service."""
        return self.service.database

    @property
    def org_context(self) -> OrgContext:
        """Return the org with its lineage."""
        return self.service.org_context(self.org.id)

    def connection(self) -> AbstractAsyncContextManager[Connection]:
        """Lend a connection on which every statement commits by itself."""
        return self.database.connection()


def run(
    call: Call,
    work: Callable[[Session], Awaitable[T]],
    *,
    role: Role = "guest",
    makes_org: bool = False,
    **more: Any,
) -> T:
    """Do a command's work with a session; what Postgres refuses becomes a KnockonError.

    ``role``: a guest is what people wait for, so it logs errors only, unless they ask for more, and
    does not wait for a database that is away.
    ``makes_org``: an org that does not exist comes into being. ``more`` are settings.
    """
    settings = settings_of(call, quiet=role == "guest", **more)
    with database_url(settings, role) as url:
        session = opened(settings, url, makes_org=makes_org, patient=role != "guest")
        return asyncio.run(_work(session, work))


def settings_of(call: Call, *, quiet: bool = True, **more: Any) -> Settings:
    """The settings of the environment, with what the call says in front; logs are set up."""
    said: dict[str, Any] = {
        "org": call.org,
        "database_url": call.database_url,
        "kafka_bootstrap_servers": call.kafka,
        "log_level": call.log_level,
        **more,
    }
    settings = Settings(**{name: value for name, value in said.items() if value is not None})
    if quiet and "log_level" not in settings.model_fields_set:
        settings = settings.model_copy(update={"log_level": "error"})
    hide_settings(settings)
    configure_logs(settings)
    return settings


@contextmanager
def database_url(settings: Settings, role: Role = "guest") -> Iterator[str]:
    """The address of the database; an embedded one runs meanwhile, if nobody runs it already."""
    if settings.database_url:
        yield settings.database_url
    else:
        with embedded_database(settings.home, role) as url:
            yield url


@asynccontextmanager
async def opened(
    settings: Settings, url: str, *, makes_org: bool = False, patient: bool = False
) -> AsyncIterator[Session]:
    """A session on a database, which must have its schema; an embedded one is given it.

    ``patient``: wait up to a minute for a database that is away.
    """
    opening = Service.open(
        url,
        source_url=settings.source_url,
        pool_size=settings.database_pool,
        patient=patient,
        migrates=settings.database_url is None,
    )
    async with opening as service:
        await service.require_schema()
        yield Session(settings, service, await service.org(settings.org, create=makes_org))


async def _work(
    opening: AbstractAsyncContextManager[Session], work: Callable[[Session], Awaitable[T]]
) -> T:
    try:
        async with opening as session:
            return await work(session)
    except psycopg.Error as error:
        raise ServiceUnavailable(f"the database refused: {str(error).strip()}") from error
