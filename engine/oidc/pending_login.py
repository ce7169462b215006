"""A login that waits for the browser to return from the provider.

The browser keeps it in a cookie: a callback is accepted only by the browser that began the login.
"""

import hmac
import secrets
from base64 import urlsafe_b64decode, urlsafe_b64encode
from hashlib import sha256
from typing import Self

import msgspec


class PendingLogin(msgspec.Struct, frozen=True):
    """The secrets of a login, the org to log in to, and the path to show afterwards."""

    state: str
    nonce: str
    verifier: str
    org: str | None
    redirect_to: str

    @classmethod
    def begin(cls, org: str | None, redirect_to: str) -> Self:
        """Return a login with new secrets."""
        state, nonce, verifier = (secrets.token_urlsafe(32) for _ in range(3))
        return cls(state, nonce, verifier, org, redirect_to)

    @classmethod
    def parse(cls, text: str) -> Self | None:
        """Return the login in a cookie; None if the text has another form."""
        try:
            return msgspec.json.decode(urlsafe_b64decode(f"{text}=="), type=cls)
        except (ValueError, RecursionError):
            return None

    @property
    def text(self) -> str:
        """Return the login as the value of a cookie."""
        return urlsafe_b64encode(msgspec.json.encode(self)).rstrip(b"=").decode()

    @property
    def challenge(self) -> str:
        """Return the PKCE challenge of the verifier."""
        digest = sha256(self.verifier.encode()).digest()
        return urlsafe_b64encode(digest).rstrip(b"=").decode()

    def has_state(self, state: str) -> bool:
        """Compare with the state of a callback."""
        return hmac.compare_digest(self.state.encode(), state.encode())
