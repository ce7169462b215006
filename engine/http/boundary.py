"""Outermost middleware: every error becomes a response, and every response has security headers."""

from starlette.datastructures import MutableHeaders
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from structlog.contextvars import bound_contextvars

from engine.http.headers import require_single
from engine.http.limits import has_body
from engine.http.problems import response_to

_LONGEST_PATH = 200
_HEADERS = {
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "content-security-policy": "default-src 'none'; frame-ancestors 'none'",
}


class Boundary:
    """Middleware around all others. After the start of a response, an error ends the connection."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Respond to a request in any case."""
        if scope["type"] != "http":
            return
        scope.setdefault("state", {})
        # Log lines of the request name it; the query may contain anything, and is left out.
        name = f"{scope['method']} {scope['path'][:_LONGEST_PATH]}"
        with bound_contextvars(request=name):
            await self._respond(scope, receive, send)

    async def _respond(self, scope: Scope, receive: Receive, send: Send) -> None:
        outgoing = _Outgoing(scope, send)
        try:
            require_single(scope)
            await self._app(scope, receive, outgoing.send)
        except ClientDisconnect:
            return
        except Exception as error:
            if outgoing.has_started:
                raise
            await response_to(error)(scope, receive, outgoing.send)


class _Outgoing:
    def __init__(self, scope: Scope, send: Send) -> None:
        self._scope = scope
        self._send = send
        self.has_started = False

    async def send(self, message: Message) -> None:
        """Send a message, with the security headers at the start of the response."""
        if message["type"] == "http.response.start":
            self.has_started = True
            headers = MutableHeaders(scope=message)
            headers.setdefault("cache-control", "no-store")
            for name, value in _HEADERS.items():
                headers.setdefault(name, value)
            if has_body(self._scope) and not self._scope["state"].get("body_read"):
                # The rest of the body might otherwise arrive for as long as the sender pleases.
                headers["connection"] = "close"
        await self._send(message)
