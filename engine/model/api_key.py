"""Keys of users for programs: `kn_<prefix>_<secret>`, stored by prefix and hash only."""

import hmac
import re
import secrets
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Self

_KEY = re.compile(r"kn_([a-z0-9]{12})_[A-Za-z0-9_-]{43}")


@dataclass(frozen=True, slots=True)
class ApiKey:
    """A key; ``text`` is known only to its user, and appears in no representation."""

    text: str = field(repr=False)
    prefix: str

    @classmethod
    def generate(cls) -> Self:
        """Generate a key with 256 random bits."""
        prefix = secrets.token_hex(6)
        return cls(f"kn_{prefix}_{secrets.token_urlsafe(32)}", prefix)

    @classmethod
    def parse(cls, text: str) -> Self | None:
        """Return the key in a text, or None if the text has another form."""
        found = _KEY.fullmatch(text)
        return None if found is None else cls(text, found[1])

    @property
    def hash(self) -> bytes:
        """Return the SHA-256 of the key; only secrets that people choose need a slow hash."""
        return sha256(self.text.encode()).digest()

    def has_hash(self, stored: bytes) -> bool:
        """Compare with a stored hash, in a time that does not depend on the difference."""
        return hmac.compare_digest(self.hash, stored)
