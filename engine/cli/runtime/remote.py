"""Sessions with a server in place of the database."""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import cast

from pydantic import SecretStr

from engine.client.address import server_url
from engine.client.operations.remote_service import RemoteService
from engine.client.server import AsyncServer, key_of
from engine.errors import InvalidInput
from engine.secrets import hide_settings
from engine.service.caller import Org
from engine.service.responses import Me
from engine.service.service import Service
from engine.settings import Settings


@dataclass(frozen=True, slots=True)
class RemoteOrg:
    """A service at a server, with the org and user of the key."""

    service: Service
    org: Org
    user: str | None


def require_no_server(settings: Settings) -> None:
    """Raise InvalidInput for a command that needs the database, with a server in its place."""
    if settings.server is not None:
        raise InvalidInput(
            "this command works on the database, not through a server: run it beside the database, "
            "without --server and KNOCKON_SERVER"
        )


@asynccontextmanager
async def open_remote(settings: Settings) -> AsyncIterator[RemoteOrg]:
    """Open the service of the configured server, as the user of the key. Raises KnockonError."""
    url = address_of(settings)
    key = key_of(url, settings.key)
    async with open_server(settings, key) as server:
        me = await server.me.get()
        _require_org(settings, me)
        # Operations are sent before they use anything that a service in this process has.
        service = cast("Service", RemoteService(server))
        yield RemoteOrg(service, Org(me.org_id, me.org), me.user)


@asynccontextmanager
async def open_server(settings: Settings, key: str) -> AsyncIterator[AsyncServer]:
    """Open a client with a key, which is redacted in all output."""
    hide_settings(settings.model_copy(update={"key": SecretStr(key)}))
    async with AsyncServer(address_of(settings), key, allow_http=settings.allow_http) as server:
        yield server


def address_of(settings: Settings) -> str:
    """Return the address of the configured server. Raises InvalidInput."""
    if settings.server is None:
        raise InvalidInput("name the server with --server or KNOCKON_SERVER")
    return server_url(settings.server, allows_http=settings.allow_http)


def require_own_name(given: str | None, user: str | None) -> None:
    """Raise InvalidInput if a decision is to be recorded under another name than the key's."""
    if given not in (None, user, os.environ.get("USER")):
        raise InvalidInput(
            f"--by {given!r} is not possible with a server: decisions are recorded as those of "
            f"{user or 'the user of the key'}: leave out --by, or use the key of {given!r}"
        )


def _require_org(settings: Settings, me: Me) -> None:
    if "org" in settings.model_fields_set and settings.org != me.org:
        raise InvalidInput(
            f"the key is of org {me.org!r}, not {settings.org!r}: leave out --org and KNOCKON_ORG, "
            f"or use a key of org {settings.org!r}"
        )
