"""Signatures of webhooks: an HMAC-SHA256 of `id.timestamp.body`, in base64.

Source: Standard Webhooks 1.0.0.
"""

import hmac
from base64 import b64decode, b64encode
from binascii import Error as NotBase64
from hashlib import sha256
from typing import Final

from engine.errors import InvalidInput

SECRET_PREFIX: Final = "whsec_"  # noqa: S105  not a password
VERSION: Final = "v1"
_ALERTS: Final = "/api/v2/alerts"


def signature(key: bytes, id_: bytes, timestamp: bytes, body: bytes) -> bytes:
    """Return the signature of a request, in base64."""
    return b64encode(hmac.digest(key, b"%b.%b.%b" % (id_, timestamp, body), sha256))


def signing_headers(secret: str, id_: str, seconds: int, body: bytes) -> dict[str, str]:
    """Return the headers of a signed request, sent at a time in seconds since 1970."""
    timestamp = str(seconds)
    signed = signature(signing_key(secret), id_.encode(), timestamp.encode(), body)
    return {
        "webhook-id": id_,
        "webhook-timestamp": timestamp,
        "webhook-signature": f"{VERSION},{signed.decode()}",
    }


def alerts_url(url: str) -> str:
    """Return the URL that accepts alerts, for the address of an Alertmanager."""
    base = url.rstrip("/")
    return base if base.endswith(_ALERTS) else base + _ALERTS


def signing_key(text: str) -> bytes:
    """Return the key in a secret, base64 with or without the prefix. Raises InvalidInput."""
    try:
        key = b64decode(text.removeprefix(SECRET_PREFIX), validate=True)
    except (NotBase64, ValueError) as error:
        raise InvalidInput(
            f"the signing secret is not base64: set the secret of the sender, {SECRET_PREFIX}…"
        ) from error
    if not key:
        raise InvalidInput(
            f"the signing secret is empty: set the secret of the sender, {SECRET_PREFIX}…"
        )
    return key
