"""The identity provider of the process."""

import time
from base64 import b64encode
from collections.abc import Callable
from functools import partial
from typing import Any
from urllib.parse import quote_plus, urlencode

from engine.errors import Unauthenticated
from engine.model.person import Person
from engine.oidc.cache import MetadataCache
from engine.oidc.config import OidcConfig
from engine.oidc.fetch import fetch_json
from engine.oidc.metadata import fetch_metadata
from engine.oidc.pending_login import PendingLogin
from engine.oidc.tokens import person_of, read_header, verified_claims

_SCOPES = "openid email profile"


class IdentityProvider:
    """The provider, which is first called when it is needed; ``now`` is the time of tokens."""

    def __init__(
        self,
        config: OidcConfig,
        *,
        now: Callable[[], float] = time.time,
        cache: MetadataCache | None = None,
    ) -> None:
        self._config = config
        self._now = now
        self._cache = cache or MetadataCache(partial(fetch_metadata, config.issuer))

    @property
    def has_client(self) -> bool:
        """Return whether browsers can log in, for which Knockon needs an id as a client."""
        return self._config.client_id is not None

    async def person(self, token: str) -> Person:
        """Return the person of a bearer token. Raises Unauthenticated, ServiceUnavailable."""
        return person_of(await self._claims(token, self._config.audience), self._config)

    async def authorization_url(self, login: PendingLogin, redirect_uri: str) -> str:
        """Return the address at which the person logs in. Raises ServiceUnavailable."""
        endpoint = (await self._cache.metadata()).authorization_endpoint
        query = urlencode(
            {
                "response_type": "code",
                "client_id": self._client_id,
                "redirect_uri": redirect_uri,
                "scope": _SCOPES,
                "state": login.state,
                "nonce": login.nonce,
                "code_challenge": login.challenge,
                "code_challenge_method": "S256",
            }
        )
        return f"{endpoint}{'&' if '?' in endpoint else '?'}{query}"

    async def redeem(self, code: str, login: PendingLogin, redirect_uri: str) -> Person:
        """Return the person of a code, which the provider accepts once.

        Raises Unauthenticated, ServiceUnavailable.
        """
        form = {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": redirect_uri,
            "code_verifier": login.verifier,
            "client_id": self._client_id,
        }
        endpoint = (await self._cache.metadata()).token_endpoint
        status, answer = await fetch_json(endpoint, form=form, headers=self._credentials)
        token = answer.get("id_token")
        if status != 200 or not isinstance(token, str):
            raise Unauthenticated("the identity provider does not accept the login: log in again")
        claims = await self._claims(token, self._client_id)
        if claims.get("nonce") != login.nonce or claims.get("azp", self._client_id) != (
            self._client_id
        ):
            raise Unauthenticated("the ID token is of another login: log in again")
        return person_of(claims, self._config)

    async def _claims(self, token: str, audience: str) -> dict[str, Any]:
        header = read_header(token, self._config)
        key = await self._cache.key(header.kid)
        return verified_claims(token, header, key, self._config, audience, self._now())

    @property
    def _client_id(self) -> str:
        assert self._config.client_id is not None  # noqa: S101  see has_client
        return self._config.client_id

    @property
    def _credentials(self) -> dict[str, str]:
        """The header that authenticates Knockon as a confidential client."""
        secret = self._config.client_secret
        if secret is None:
            return {}
        pair = f"{quote_plus(self._client_id)}:{quote_plus(secret)}"
        return {"authorization": f"Basic {b64encode(pair.encode()).decode()}"}
