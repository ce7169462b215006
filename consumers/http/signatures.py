"""Verification of signed webhooks; see `engine.model.webhooks` for the signature."""

import hmac
from collections.abc import Mapping, Sequence

from engine.errors import Forbidden
from engine.model.webhooks import VERSION, signature, signing_key

TOLERANCE_SECONDS = 300
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
    expected = [signature(key, _bytes(id_), _bytes(timestamp), body) for key in keys]
    # Each comparison takes constant time, and all are made, so that timing reveals no signature.
    matches = [
        hmac.compare_digest(one, _bytes(text))
        for one in expected
        for version, _, text in (each.partition(",") for each in signatures.split(" "))
        if version == VERSION
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
    return [signing_key(text) for text in secret.split() or [secret]]


def _bytes(text: str) -> bytes:
    return text.encode(errors="surrogatepass")
