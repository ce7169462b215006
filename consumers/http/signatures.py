"""Signatures of webhooks.

Source: Standard Webhooks 1.0.0. The signed content is `id.timestamp.body`, the signature an
HMAC-SHA256 in base64 with the prefix `v1,`, and the secret base64 with the prefix `whsec_`.
"""

import hmac
from base64 import b64decode, b64encode
from binascii import Error as NotBase64
from collections.abc import Mapping, Sequence
from hashlib import sha256

from engine.errors import Forbidden, InvalidInput

TOLERANCE_SECONDS = 300
_PREFIX = "whsec_"
_VERSION = "v1"
_LONGEST_TIMESTAMP = 15


def verify(keys: Sequence[bytes], headers: Mapping[str, str], body: bytes, now: float) -> None:
    """Check that one of the signatures of a request is made with one of the keys.

    ``headers`` have lower-case names and ``now`` counts seconds since 1970. Raises Forbidden.
    """
    id_, timestamp, signatures = (
        headers.get(f"webhook-{name}", "") for name in ("id", "timestamp", "signature")
    )
    if not (id_ and timestamp and signatures):
        raise Forbidden(
            "the request is not signed: send the headers webhook-id, webhook-timestamp and "
            "webhook-signature, as specified by Standard Webhooks"
        )
    _check_age(timestamp, now)
    content = b"%b.%b.%b" % (_bytes(id_), _bytes(timestamp), body)
    expected = [_signature(key, content) for key in keys]
    # Each comparison takes constant time, and all are made, so that timing reveals no signature.
    matches = [
        hmac.compare_digest(one, _bytes(text))
        for one in expected
        for version, _, text in (each.partition(",") for each in signatures.split(" "))
        if version == _VERSION
    ]
    if not any(matches):
        raise Forbidden(
            "no signature in webhook-signature is right: sign webhook-id, webhook-timestamp and "
            "the unmodified body with the secret of the endpoint"
        )


def _check_age(timestamp: str, now: float) -> None:
    is_number = timestamp.isascii() and timestamp.isdecimal()
    if not is_number or len(timestamp) > _LONGEST_TIMESTAMP:
        raise Forbidden("webhook-timestamp is not a number of seconds since 1970: correct it")
    seconds = int(timestamp) - now
    if abs(seconds) > TOLERANCE_SECONDS:
        raise Forbidden(
            f"webhook-timestamp is {abs(seconds):.0f} seconds in the "
            f"{'future' if seconds > 0 else 'past'}, the limit is {TOLERANCE_SECONDS}: set the "
            "clock of the sender, and sign each attempt again"
        )


def keys_of(secret: str) -> list[bytes]:
    """The keys of a secret, or of several separated by spaces, as during a rotation.

    Raises InvalidInput.
    """
    try:
        keys = [b64decode(text.removeprefix(_PREFIX), validate=True) for text in secret.split()]
    except (NotBase64, ValueError) as error:
        raise InvalidInput(
            f"the signing secret is not base64: set the secret of the sender, {_PREFIX}…"
        ) from error
    if not keys or not all(keys):
        raise InvalidInput(f"the signing secret is empty: set the secret of the sender, {_PREFIX}…")
    return keys


def _signature(key: bytes, content: bytes) -> bytes:
    return b64encode(hmac.digest(key, content, sha256))


def _bytes(text: str) -> bytes:
    return text.encode(errors="surrogatepass")
