"""An OpenID Connect provider for tests: real HTTP, keys that rotate, and misbehavior on request."""

import asyncio
import secrets
import time
from base64 import b64decode, urlsafe_b64encode
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any
from urllib.parse import parse_qs

from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse, RedirectResponse, Response
from joserfc import jwt
from joserfc.jwk import ECKey, Key, RSAKey
from joserfc.jws import JWSRegistry

from engine.web_server import WebServer

CLIENT, SECRET, AUDIENCE = "knockon-client", "client:secret/1", "knockon-api"
DISCOVERY = "/realms/acme/.well-known/openid-configuration"
JWKS = "/realms/acme/keys"


@dataclass
class Grant:
    """A code that has been issued, for one redemption."""

    challenge: str
    nonce: str
    redirect_uri: str
    claims: dict[str, Any]


@dataclass
class IdentityProviderServer:
    """The provider, with the requests received so far by path.

    ``person`` logs in next. ``override`` replaces responses by path; ``is_down`` refuses all.
    """

    url: str = ""
    keys: dict[str, Key] = field(default_factory=dict)
    algorithm: str = "RS256"
    key_id: str = ""
    requests: list[str] = field(default_factory=list)
    override: dict[str, Response] = field(default_factory=dict)
    is_down: bool = False
    person: dict[str, Any] = field(default_factory=dict)
    codes: dict[str, Grant] = field(default_factory=dict)

    @property
    def issuer(self) -> str:
        return f"{self.url}/realms/acme"

    def rotate(self, algorithm: str = "RS256", *, keep: bool = False) -> None:
        """Sign with a new key, and publish the others only with ``keep``."""
        if not keep:
            self.keys.clear()
        self.algorithm, self.key_id = algorithm, secrets.token_hex(8)
        parameters = {"kid": self.key_id, "use": "sig", "alg": algorithm}
        self.keys[self.key_id] = (
            ECKey.generate_key("P-256", parameters)
            if algorithm == "ES256"
            else RSAKey.generate_key(2048, parameters)
        )

    def claims(self, subject: str = "ann", **more: Any) -> dict[str, Any]:
        """Claims of a token that is valid for five minutes from now; None removes one."""
        now = int(time.time())
        claims = {
            "iss": self.issuer,
            "aud": AUDIENCE,
            "sub": subject,
            "iat": now,
            "exp": now + 300,
            "email": f"{subject}@example.com",
            "email_verified": True,
            "groups": [],
            **more,
        }
        return {name: value for name, value in claims.items() if value is not None}

    def token(
        self, subject: str = "ann", *, header: dict[str, Any] | None = None, **claims: Any
    ) -> str:
        """A token signed with the current key."""
        head = {"alg": self.algorithm, "kid": self.key_id, **(header or {})}
        key = self.keys[self.key_id]
        return sign(head, self.claims(subject, **claims), key)

    def fetches(self, path: str = JWKS) -> int:
        """The number of requests for a path."""
        return self.requests.count(path)

    def authorize(self, query: dict[str, str]) -> str:
        """Return the address to which the browser is sent back, after ``person`` has logged in."""
        assert query["response_type"] == "code"
        assert query["client_id"] == CLIENT
        assert query["code_challenge_method"] == "S256"
        assert "openid" in query["scope"].split()
        code = secrets.token_urlsafe(16)
        self.codes[code] = Grant(
            query["code_challenge"], query["nonce"], query["redirect_uri"], dict(self.person)
        )
        # As by Keycloak, with more parameters than the standard has.
        extra = "session_state=1f3a&iss=x"
        return f"{query['redirect_uri']}?state={query['state']}&code={code}&{extra}"

    def redeem(self, form: dict[str, str], authorization: str) -> tuple[int, dict[str, Any]]:
        """Return the status and body of the token endpoint."""
        pair = b64decode(authorization.removeprefix("Basic ")).decode()
        grant = self.codes.pop(form.get("code", ""), None)
        challenge = urlsafe_b64encode(sha256(form["code_verifier"].encode()).digest())
        if (
            pair != f"{CLIENT}:client%3Asecret%2F1"
            or grant is None
            or grant.challenge != challenge.rstrip(b"=").decode()
            or grant.redirect_uri != form["redirect_uri"]
            or form["grant_type"] != "authorization_code"
        ):
            return 400, {"error": "invalid_grant"}
        claims = {"aud": CLIENT, "nonce": grant.nonce, **grant.claims}
        return 200, {"id_token": self.token(**claims), "access_token": "x", "token_type": "Bearer"}


def sign(header: dict[str, Any], claims: dict[str, Any], key: Key) -> str:
    """A token with any header."""
    registry = JWSRegistry(algorithms=[header["alg"]], strict_check_header=False)
    registry.max_header_length = 100_000
    return jwt.encode(header, claims, key, [header["alg"]], registry)


def _app(provider: IdentityProviderServer) -> FastAPI:
    app = FastAPI()

    @app.middleware("http")
    async def misbehave(request: Request, call_next: Any) -> Response:
        path = request.url.path
        provider.requests.append(path)
        if provider.is_down:
            return Response("down", 503)
        return provider.override.get(path) or await call_next(request)

    @app.get(DISCOVERY)
    async def discovery() -> Any:
        return {
            "issuer": provider.issuer,
            "authorization_endpoint": f"{provider.issuer}/authorize",
            "token_endpoint": f"{provider.issuer}/token",
            "jwks_uri": f"{provider.url}{JWKS}",
        }

    @app.get(JWKS)
    async def keys() -> Any:
        return {"keys": [key.as_dict(private=False) for key in provider.keys.values()]}

    @app.get("/realms/acme/authorize")
    async def authorize(request: Request) -> Response:
        return RedirectResponse(provider.authorize(dict(request.query_params)), 302)

    @app.post("/realms/acme/token")
    async def redeem(request: Request) -> Response:
        fields = parse_qs((await request.body()).decode())
        form = {name: values[0] for name, values in fields.items()}
        status, body = provider.redeem(form, request.headers.get("authorization", ""))
        return JSONResponse(body, status)

    return app


@asynccontextmanager
async def identity_provider() -> AsyncIterator[IdentityProviderServer]:
    """Serve a provider on a free port of loopback during the body."""
    provider, stop = IdentityProviderServer(), asyncio.Event()
    provider.rotate()
    server = WebServer(_app(provider), "127.0.0.1:0")
    provider.url = server.url
    async with asyncio.TaskGroup() as group:
        group.create_task(server.run(stop))
        try:
            yield provider
        finally:
            stop.set()
