"""Secrets of sessions in a browser: `ks_<secret>`, stored by hash only."""

import re
import secrets
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Final, Self

PREFIX: Final = "ks_"
_FORM = re.compile(r"ks_[A-Za-z0-9_-]{43}")


@dataclass(frozen=True, slots=True)
class SessionSecret:
    """The secret of a session, known only to the browser."""

    text: str = field(repr=False)

    @classmethod
    def generate(cls) -> Self:
        """Generate a secret with 256 random bits."""
        return cls(f"{PREFIX}{secrets.token_urlsafe(32)}")

    @classmethod
    def parse(cls, text: str) -> Self | None:
        """Return the secret in a text, or None if the text has another form."""
        return cls(text) if _FORM.fullmatch(text) else None

    @property
    def hash(self) -> bytes:
        """Return the SHA-256 of the secret, by which the session is found."""
        return sha256(self.text.encode()).digest()
