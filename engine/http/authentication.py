"""Authentication of requests by a key, `Authorization: Bearer kn_…`."""

from typing import Final

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from engine.errors import Unauthenticated
from engine.service.authentication import authenticate
from engine.service.caller import Caller
from engine.service.service import Service

ORIGIN: Final = "http"
OPENAPI_PATH: Final = "/api/v1/openapi.json"
_MISSING = "this request needs a key: send the header 'Authorization: Bearer kn_…'"


class Authentication:
    """Middleware that identifies the caller before anything else of a request is read.

    ``caller``, ``key`` and ``key_prefix`` become part of the state of the request. Only the OpenAPI
    document needs no key.
    """

    def __init__(self, app: ASGIApp, service: Service) -> None:
        self._app = app
        self._service = service

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Identify the caller. Raises Unauthenticated."""
        if scope["path"] != OPENAPI_PATH:
            key = bearer_key(Headers(scope=scope))
            caller = await caller_of(self._service, key)
            _, prefix, _ = key.split("_", 2)
            scope["state"] |= {"caller": caller, "key": key, "key_prefix": prefix}
        await self._app(scope, receive, send)


async def caller_of(service: Service, key: str) -> Caller:
    """Return the caller for whom a key acts. Raises Unauthenticated."""
    return await authenticate(service, key, ORIGIN)


def bearer_key(headers: Headers) -> str:
    """Return the key in the headers of a request. Raises Unauthenticated."""
    values = headers.getlist("authorization")
    scheme, _, key = values[0].partition(" ") if len(values) == 1 else ("", "", "")
    if scheme.lower() != "bearer" or not key.strip():
        raise Unauthenticated(_MISSING)
    return key.strip()
