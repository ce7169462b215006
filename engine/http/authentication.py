"""Authentication of requests: by a key, or by the token of a task."""

import binascii
import re
from base64 import b64decode
from typing import Final

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from engine.errors import Forbidden, Unauthenticated
from engine.http.attempts import Attempts
from engine.model.task_token import PREFIX as TOKEN_PREFIX
from engine.service.authentication import authenticate, authenticate_task
from engine.service.caller import Caller
from engine.service.service import Service

ORIGIN: Final = "http"
OPENAPI_PATH: Final = "/api/v1/openapi.json"
_MISSING = "this request needs a key: send the header 'Authorization: Bearer kn_…'"
_REPORT = re.compile(r"/api/v1/tasks/([^/]+)/(?:heartbeat|complete|fail)")
_INGESTION = re.compile(r"/api/v1/(?:sources/.+|lineage)")


class Authentication:
    """Middleware that identifies the caller before anything else of a request is read.

    ``caller``, ``key`` and ``key_prefix`` become part of the state of the request. Only the OpenAPI
    document needs no key.
    """

    def __init__(self, app: ASGIApp, service: Service, attempts: Attempts) -> None:
        self._app = app
        self._service = service
        self._attempts = attempts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Identify the caller. Raises Unauthenticated, Forbidden, LeaseLost, RequestError."""
        if scope["path"] == OPENAPI_PATH:
            self._attempts.count(scope)
        else:
            credential = credential_of(scope)
            async with self._attempts.attempt(scope, credential):
                caller, prefix = await self._identify(scope["path"], credential)
            scope["state"] |= {"caller": caller, "key": credential, "key_prefix": prefix}
        await self._app(scope, receive, send)

    async def _identify(self, path: str, credential: str) -> tuple[Caller, str]:
        """Return the caller, with a name for limits."""
        if credential.startswith(TOKEN_PREFIX):
            return await self._worker(path, credential)
        caller = await caller_of(self._service, credential)
        _, prefix, _ = credential.split("_", 2)
        return caller, prefix

    async def _worker(self, path: str, text: str) -> tuple[Caller, str]:
        """Return the caller for a token of a task, with the task."""
        report = _REPORT.fullmatch(path)
        if report is None:
            raise Forbidden(
                "the token of a task permits heartbeat, complete and fail only: use a key"
            )
        caller = await authenticate_task(self._service, text, ORIGIN)
        assert caller.task is not None  # noqa: S101  set for each token
        if report[1].lower() != str(caller.task.task_id):
            raise Forbidden("the token is of another task: send the token of the task in the path")
        return caller, str(caller.task.task_id)


async def caller_of(service: Service, key: str) -> Caller:
    """Return the caller for whom a key acts. Raises Unauthenticated."""
    return await authenticate(service, key, ORIGIN)


def credential_of(scope: Scope) -> str:
    """Return the key or token in the headers of a request. Raises Unauthenticated."""
    values = Headers(scope=scope).getlist("authorization")
    scheme, _, credential = values[0].partition(" ") if len(values) == 1 else ("", "", "")
    credential = credential.strip()
    if scheme.lower() == "basic" and _is_ingestion(scope):
        credential = _password(credential)
    elif scheme.lower() != "bearer":
        credential = ""
    if not credential:
        raise Unauthenticated(_MISSING)
    return credential


def _is_ingestion(scope: Scope) -> bool:
    return scope["method"] == "POST" and _INGESTION.fullmatch(scope["path"]) is not None


def _password(encoded: str) -> str:
    """Return the password of basic credentials, for senders that support no other.

    Only ingestion accepts them: a browser adds stored ones to requests made by any page.
    """
    try:
        _, _, password = b64decode(encoded, validate=True).decode().partition(":")
    except (binascii.Error, UnicodeDecodeError):
        return ""
    return password
