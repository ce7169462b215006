"""Connection of a command to the configured database, or to the embedded one."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar
from uuid import UUID

import psycopg

from engine.cli.global_options import GlobalOptions
from engine.cli.runtime.embedded_database import Role, embedded_database, require_embedded_database
from engine.cli.runtime.remote import open_remote, require_no_server, require_own_name
from engine.errors import InvalidInput, ServiceUnavailable
from engine.flow.shared.org_context import OrgContext
from engine.logs import configure_logs
from engine.model.presence import ALL_ORGS
from engine.secrets import hide_settings
from engine.service.caller import Caller, Org
from engine.service.errors import database_errors
from engine.service.remote import Remote
from engine.service.service import Service
from engine.settings import Settings, read_settings
from engine.store.addresses import display_url
from engine.store.database import PATIENCE_SECONDS, Connection, Database, reconnecting
from engine.store.outages import is_transient

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Session:
    """An open service with settings and the org of the command.

    Commands use ``service``; ``database`` and ``org_context`` are for processes.
    """

    settings: Settings
    service: Service
    org: Org
    user: str | None = None

    @property
    def is_remote(self) -> bool:
        """Return true if the service is that of a server, for the ``user`` of the key."""
        return isinstance(self.service, Remote)

    def caller(self, user: str | None = None) -> Caller:
        """Return the local user, under the name to record with decisions. Raises InvalidInput."""
        if self.is_remote:
            require_own_name(user, self.user)
            return Caller.local(self.org, self.user)
        return Caller.local(self.org, user)

    @property
    def database(self) -> Database:
        """Return the database of the service. Raises InvalidInput for that of a server."""
        if self.is_remote:
            require_no_server(self.settings)
        return self.service.database

    @property
    def org_context(self) -> OrgContext:
        """Return the org with its lineage."""
        return self.service.org_context(self.org.id)

    def connection(self) -> AbstractAsyncContextManager[Connection]:
        """Lend a connection in autocommit mode."""
        return self.database.connection()


def run(
    options: GlobalOptions,
    work: Callable[[Session], Awaitable[T]],
    *,
    role: Role = "guest",
    creates_database: bool = False,
    creates_org: bool = False,
    serves_all_orgs: bool = False,
    loop_factory: Callable[[], asyncio.AbstractEventLoop] | None = None,
    **settings: Any,
) -> T:
    """Run the work of a command in a session. Raises ServiceUnavailable on database errors.

    With a server, the session of a guest is one with the server, and other roles are refused. A
    guest logs only errors, unless --log-level is set, and does not wait for an unavailable
    database. A guest creates the embedded database only with ``creates_database``, and the org with
    ``creates_org``. With ``serves_all_orgs``, the org may be `ALL_ORGS`. ``settings`` override
    those of the environment; ``loop_factory`` returns another event loop than asyncio's.
    """
    loaded = load_settings(options, quiet=role == "guest", **settings)
    if loaded.server is not None and role == "guest":
        return asyncio.run(_run_remote(loaded, work))
    require_no_server(loaded)
    if loaded.org == ALL_ORGS and not serves_all_orgs:
        raise InvalidInput("this command is for one org: name it with --org or KNOCKON_ORG")
    if role == "guest" and not creates_database:
        require_database(loaded)

    async def main(url: str) -> T:
        opening = open_session(loaded, url, creates_org=creates_org, patient=role != "guest")
        with database_errors():
            async with opening as session, _schema_errors(session):
                return await work(session)

    with database_url(loaded, role) as url, asyncio.Runner(loop_factory=loop_factory) as runner:
        return runner.run(main(url))


async def _run_remote(settings: Settings, work: Callable[[Session], Awaitable[T]]) -> T:
    async with open_remote_session(settings) as session:
        return await work(session)


@asynccontextmanager
async def open_remote_session(settings: Settings) -> AsyncIterator[Session]:
    """A session with the configured server."""
    async with open_remote(settings) as remote:
        yield Session(settings, remote.service, remote.org, remote.user)


@asynccontextmanager
async def _schema_errors(session: Session) -> AsyncIterator[None]:
    """Raise OutdatedCode if a statement failed because the schema requires newer code."""
    try:
        yield
    except (psycopg.Error, ServiceUnavailable) as error:
        cause = error if isinstance(error, psycopg.Error) else error.__cause__
        if isinstance(cause, psycopg.Error) and not is_transient(cause):
            await session.service.require_schema()
        raise


def require_database(settings: Settings) -> None:
    """Raise ServiceUnavailable if no database is configured, and none is embedded yet.

    Raises InvalidInput if a server is configured instead.
    """
    require_no_server(settings)
    if settings.database_url is None:
        require_embedded_database(settings.home)


def load_settings(options: GlobalOptions, *, quiet: bool = True, **overrides: Any) -> Settings:
    """Settings of the environment, overridden by the options; configures logs.

    Raises InvalidInput for options that exclude each other.
    """
    if options.server and options.database_url:
        raise InvalidInput("--server takes the place of --database-url: give one of them")
    given: dict[str, Any] = {
        "org": options.org,
        "database_url": options.database_url,
        "server": options.server,
        "kafka_bootstrap_servers": options.kafka,
        "log_level": options.log_level,
        **overrides,
    }
    given = {name: value for name, value in given.items() if value is not None}
    settings = read_settings(**given)
    if options.database_url:
        settings = settings.model_copy(update={"server": None})
    if quiet and "log_level" not in settings.model_fields_set:
        settings = settings.model_copy(update={"log_level": "error"})
    hide_settings(settings)
    configure_logs(settings)
    return settings


def database_name(options: GlobalOptions) -> str:
    """The database of a command, or the server, for messages."""
    settings = load_settings(options)
    if settings.server:
        return f"the org of the key at {settings.server}"
    if settings.database_url:
        return display_url(settings.database_url)
    return f"the embedded database in {settings.home.resolve()}"


@contextmanager
def database_url(settings: Settings, role: Role = "guest") -> Iterator[str]:
    """The address of the configured database, or of an embedded one, started if necessary.

    Raises InvalidInput if a server is configured instead.
    """
    require_no_server(settings)
    if settings.database_url:
        yield settings.database_url
    else:
        with embedded_database(settings.home, role) as url:
            yield url


@asynccontextmanager
async def open_session(
    settings: Settings, url: str, *, creates_org: bool = False, patient: bool = False
) -> AsyncIterator[Session]:
    """A session on a database with the current schema; an embedded database is migrated first.

    ``patient``: wait up to a minute for an unavailable database.
    """
    opening = Service.open(
        url,
        direct_url=settings.direct_url,
        source_url=settings.source_url,
        webhook_networks=settings.webhook_networks,
        pool_size=settings.database_pool,
        patient=patient,
        migrates=settings.database_url is None,
    )
    async with opening as service:

        async def find_org() -> Org:
            await service.require_schema()
            if settings.org == ALL_ORGS:
                return Org(UUID(int=0), ALL_ORGS)
            return await service.org(settings.org, create=creates_org)

        with database_errors():
            if patient:
                org = await reconnecting(find_org, what="start", seconds=PATIENCE_SECONDS)
            else:
                org = await find_org()
        yield Session(settings, service, org)
