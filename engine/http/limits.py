"""Limits of request bodies: size, time and depth."""

import asyncio
from http import HTTPStatus
from typing import Final

import msgspec
from starlette.datastructures import Headers
from starlette.requests import ClientDisconnect, Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from engine.http.problems import RequestError

BODY_SECONDS: Final = 30.0
"""Time for a whole body: a sender that is slower occupies memory and a connection for too long."""
MAX_DEPTH: Final = 32


class BodyLimits:
    """Middleware that reads a body as a whole, up to a size and within a time, before its use."""

    def __init__(self, app: ASGIApp, max_bytes: int, seconds: float = BODY_SECONDS) -> None:
        self._app = app
        self._max_bytes = max_bytes
        self._seconds = seconds

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Read the body. Raises RequestError beyond a limit."""
        if not has_body(scope):
            await self._app(scope, receive, send)
            return
        length = Headers(scope=scope).get("content-length", "")
        if length.isdigit() and int(length) > self._max_bytes:
            raise self._too_large()
        try:
            async with asyncio.timeout(self._seconds):
                body = await self._read(receive)
        except TimeoutError:
            raise RequestError(
                HTTPStatus.REQUEST_TIMEOUT,
                "too_slow",
                f"the body did not arrive within {self._seconds:g} seconds: send it again",
            ) from None
        scope["state"]["body_read"] = True
        await self._app(scope, _replay(body, receive), send)

    async def _read(self, receive: Receive) -> bytes:
        body = bytearray()
        more = True
        while more:
            message = await receive()
            if message["type"] == "http.disconnect":
                raise ClientDisconnect
            body += message.get("body", b"")
            if len(body) > self._max_bytes:
                raise self._too_large()
            more = message.get("more_body", False)
        return bytes(body)

    def _too_large(self) -> RequestError:
        return RequestError(
            HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
            "too_large",
            f"a body has at most {self._max_bytes:,} bytes: send less at once, or have an "
            "operator raise KNOCKON_HTTP_BODY_BYTES",
        )


def has_body(scope: Scope) -> bool:
    """Return whether a request has a body, according to its headers."""
    headers = Headers(scope=scope)
    return headers.get("content-length", "0") != "0" or "transfer-encoding" in headers


def _replay(body: bytes, receive: Receive) -> Receive:
    """Return a channel that yields the body once, and then what follows."""
    pending = [body]

    async def replayed() -> Message:
        if pending:
            return {"type": "http.request", "body": pending.pop(), "more_body": False}
        return await receive()

    return replayed


class LimitedRequest(Request):
    """A request whose JSON is strict and not deeply nested."""

    async def json(self) -> object:
        """Return the decoded body. Raises RequestError, and ends the request with status 400."""
        try:
            value = msgspec.json.decode(await self.body())
        except (msgspec.DecodeError, msgspec.ValidationError) as error:
            raise _malformed(str(error)) from None
        except RecursionError:
            raise _too_deep() from None
        check_depth(value)
        return value


def check_depth(value: object) -> None:
    """Check the depth of a decoded value without recursion. Raises RequestError."""
    level = [value]
    for _ in range(MAX_DEPTH):
        level = [item for each in level for item in _children(each)]
        if not level:
            return
    raise _too_deep()


def _children(value: object) -> list[object]:
    """Return the containers in a container; scalars have no depth."""
    items = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return [item for item in items if isinstance(item, dict | list)]


def _malformed(why: str) -> RequestError:
    return RequestError(
        HTTPStatus.BAD_REQUEST, "malformed_json", f"the body is not JSON in UTF-8: {why}"
    )


def _too_deep() -> RequestError:
    return RequestError(
        HTTPStatus.BAD_REQUEST,
        "too_deep",
        f"the body is nested more than {MAX_DEPTH} levels deep: send it flatter",
    )
