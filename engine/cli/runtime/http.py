"""The HTTP service of a process."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import (
    AbstractAsyncContextManager,
    AsyncExitStack,
    asynccontextmanager,
    suppress,
)
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import structlog
import typer

from engine.cli.runtime.session import Session
from engine.errors import InvalidInput, KnockonError, ServiceUnavailable
from engine.loops.periodic import run_periodically
from engine.model.states import KeyScope, Role
from engine.service.caller import Caller
from engine.service.commands.api_keys import create_key, extend_key, revoke_key
from engine.service.commands.users import add_user
from engine.service.service import Service
from engine.settings import Settings

if TYPE_CHECKING:
    from engine.oidc.provider import IdentityProvider

Listen = Annotated[
    str | None,
    typer.Option(
        "--listen",
        metavar="HOST:PORT",
        help="Address of the HTTP service; default: KNOCKON_HTTP_ADDRESS.",
        show_default=False,
    ),
]

_log = structlog.get_logger(__name__)
_FREE_PORT = "127.0.0.1:0"
_LOCAL_ORG = "default"
_LOCAL_USER = "local@localhost"
_KEY_NAME = "knockon up"
_KEY_SECONDS = 86_400.0
_RENEWAL_SECONDS = 3_600.0


class HttpService:
    """The HTTP service on an address. Raises the errors of `WebServer`."""

    def __init__(self, service: Service, settings: Settings, address: str) -> None:
        # Imported here, because most commands do not need FastAPI, which is slow to import.
        from engine.http.app import Limits, http_app
        from engine.http.public_site import PublicSite
        from engine.web_server import HTTP_SERVICE, WebServer

        limits = Limits(
            body_bytes=settings.http_body_bytes,
            per_second=settings.http_rate,
            processes=settings.http_processes,
            operation_seconds=settings.http_operation_seconds,
        )
        site = settings.public_url and PublicSite(
            settings.public_url, settings.session_seconds, settings.session_idle_seconds
        )
        app = http_app(service, limits, site or None)
        self._feeds = app.state.feeds
        self._costly = app.state.costly
        self._server = WebServer(app, address, HTTP_SERVICE, settings.http_trusted_proxies)
        self.url = self._server.url

    async def run(self, stop: asyncio.Event) -> None:
        """Serve until ``stop`` is set; then end streams, and finish the other requests."""
        ending = asyncio.create_task(self._end_streams(stop))
        try:
            await self._server.run(stop)
        finally:
            ending.cancel()
            self._feeds.stop()
            await self._costly.close()

    async def _end_streams(self, stop: asyncio.Event) -> None:
        await stop.wait()
        self._feeds.stop()


@asynccontextmanager
async def http_service(session: Session) -> AsyncIterator[HttpService]:
    """Lend the service at the configured address, confined by row-level security.

    Raises ServiceUnavailable if the database does not confine it, or the address is in use.
    """
    async with _restricted(session) as service:
        yield HttpService(service, session.settings, session.settings.http_address)


@asynccontextmanager
async def local_http_service(session: Session) -> AsyncIterator[HttpService | None]:
    """Lend the service; without a configured address, possibly at a free port.

    None if the database does not confine it, as without the roles of Knockon.
    """
    try:
        async with AsyncExitStack() as stack:
            service = await stack.enter_async_context(_restricted(session))
            http = _at_any_port(service, session.settings)
            held = stack.pop_all()
    except ServiceUnavailable as error:
        if "http_address" in session.settings.model_fields_set:
            raise
        _log.warning("the HTTP service is not started", why=str(error))
        yield None
        return
    async with held:
        yield http


def _restricted(session: Session) -> AbstractAsyncContextManager[Service]:
    settings = session.settings
    return Service.open(
        session.database.url,
        direct_url=settings.direct_url,
        source_url=session.service.source_url,
        webhook_networks=settings.webhook_networks,
        identity_provider=_identity_provider(settings),
        pool_size=settings.database_pool,
        is_restricted=True,
    )


def _identity_provider(settings: Settings) -> "IdentityProvider | None":
    from engine.oidc.config import oidc_config
    from engine.oidc.provider import IdentityProvider

    config = oidc_config(settings)
    return None if config is None else IdentityProvider(config)


def _at_any_port(service: Service, settings: Settings) -> HttpService:
    try:
        return HttpService(service, settings, settings.http_address)
    except ServiceUnavailable:
        if "http_address" in settings.model_fields_set:
            raise
        return HttpService(service, settings, _FREE_PORT)


@dataclass(frozen=True, slots=True)
class LocalKey:
    """The key of the local user, valid while the command runs."""

    key: str
    user: str


@asynccontextmanager
async def local_key(session: Session) -> AsyncIterator[LocalKey]:
    """Lend a key of a local admin, who is added if missing; the key is revoked afterwards.

    The key is renewed while the command runs, and expires within a day if the process is killed.
    """
    service = session.service
    caller = session.caller()
    if session.org.is_all:
        caller = Caller.local(await service.org(_LOCAL_ORG))
    with suppress(InvalidInput):  # a user already, whose role may have been changed on purpose
        await add_user(caller, service, _LOCAL_USER, Role.ADMIN)
    created = await create_key(
        caller, service, _LOCAL_USER, _KEY_NAME, [KeyScope.API], seconds=_KEY_SECONDS
    )

    async def renew() -> bool:
        await extend_key(caller, service, created.prefix, _KEY_SECONDS)
        return False

    stop = asyncio.Event()
    renewing = asyncio.create_task(run_periodically("local key", renew, stop, _RENEWAL_SECONDS))
    try:
        yield LocalKey(created.key, _LOCAL_USER)
    finally:
        stop.set()
        await renewing
        try:
            await revoke_key(caller, service, created.prefix)
        except KnockonError as error:
            _log.warning("the local key is not revoked, and expires by itself", why=str(error))
