"""Authentication of requests: by a key, a token, a session in a browser, or a task's token."""

import binascii
import re
from base64 import b64decode
from dataclasses import dataclass, field
from typing import Final

from starlette.datastructures import Headers
from starlette.requests import HTTPConnection
from starlette.types import ASGIApp, Receive, Scope, Send

from engine.errors import Forbidden, Unauthenticated
from engine.http.attempts import Attempts
from engine.http.public_site import PublicSite
from engine.model.task_token import PREFIX as TOKEN_PREFIX
from engine.service.authentication import authenticate, authenticate_task, authenticate_token
from engine.service.caller import Caller
from engine.service.service import Service
from engine.service.sessions import authenticate_session

ORIGIN: Final = "http"
OPENAPI_PATH: Final = "/api/v1/openapi.json"
_PUBLIC_PATHS: Final = frozenset({OPENAPI_PATH, "/api/v1/login", "/api/v1/login/callback"})
_DOTS_OF_TOKEN: Final = 2
_MISSING = "this request needs a key: send the header 'Authorization: Bearer kn_…'"
_REPORT = re.compile(r"/api/v1/tasks/([^/]+)/(?:heartbeat|complete|fail)")
_INGESTION = re.compile(r"/api/v1/(?:sources/.+|lineage)")


@dataclass(frozen=True, slots=True)
class Credential:
    """The key, token or session secret of a request; ``org`` selects the org of a token."""

    text: str = field(repr=False)
    org: str | None = None
    is_session: bool = False

    @property
    def is_token(self) -> bool:
        """Return whether the text may be a token of the identity provider."""
        return self.text.count(".") == _DOTS_OF_TOKEN


class Authentication:
    """Middleware that identifies the caller before anything else of a request is read.

    ``caller``, ``key`` and ``key_prefix`` become part of the state of the request. Only the OpenAPI
    document and the login need no key.
    """

    def __init__(
        self, app: ASGIApp, service: Service, attempts: Attempts, site: PublicSite | None = None
    ) -> None:
        self._app = app
        self._service = service
        self._attempts = attempts
        self._site = site

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Identify the caller. Raises Unauthenticated, Forbidden, LeaseLost, RequestError."""
        if scope["path"] in _PUBLIC_PATHS:
            self._attempts.count(scope)
        else:
            credential = credential_of(scope, self._site)
            async with self._attempts.attempt(scope, credential.text):
                caller, prefix = await self._identify(scope["path"], credential)
            scope["state"] |= {"caller": caller, "key": credential, "key_prefix": prefix}
        await self._app(scope, receive, send)

    async def _identify(self, path: str, credential: Credential) -> tuple[Caller, str]:
        """Return the caller, with a name for limits."""
        if credential.text.startswith(TOKEN_PREFIX):
            return await self._worker(path, credential.text)
        caller = await caller_of(self._service, credential)
        return caller, _prefix(credential, caller)

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


async def caller_of(service: Service, credential: Credential) -> Caller:
    """Return the caller for whom a credential acts. Raises Unauthenticated, Forbidden."""
    if credential.is_session:
        return await authenticate_session(service, credential.text, ORIGIN)
    if credential.is_token:
        return await authenticate_token(service, credential.text, credential.org, ORIGIN)
    return await authenticate(service, credential.text, ORIGIN)


def credential_of(scope: Scope, site: PublicSite | None) -> Credential:
    """Return the credential in the headers of a request, else its session in a browser.

    Raises Unauthenticated, and Forbidden for a change from a page of another site.
    """
    headers = Headers(scope=scope)
    values = headers.getlist("authorization")
    if not values and site is not None:
        secret = HTTPConnection(scope).cookies.get(site.session_cookie)
        if secret is not None:
            site.require_own_page(scope["method"], headers)
            return Credential(secret, is_session=True)
    scheme, _, credential = values[0].partition(" ") if len(values) == 1 else ("", "", "")
    credential = credential.strip()
    if scheme.lower() == "basic" and _is_ingestion(scope):
        credential = _password(credential)
    elif scheme.lower() != "bearer":
        credential = ""
    if not credential:
        raise Unauthenticated(_MISSING)
    return Credential(credential, headers.get("knockon-org"))


def _prefix(credential: Credential, caller: Caller) -> str:
    """Return the name of the caller for limits: of a key its prefix, otherwise the user."""
    if credential.is_session or credential.is_token:
        return str(caller.user_id)
    return credential.text.split("_", 2)[1]


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
