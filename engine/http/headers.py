"""Headers that may occur once: of two values, one would be checked and the other used."""

from http import HTTPStatus
from typing import Final

from starlette.types import Scope

from engine.http.problems import RequestError

_SINGLE: Final = frozenset(
    {
        b"content-encoding",
        b"content-type",
        b"idempotency-key",
        b"last-event-id",
        b"webhook-id",
        b"webhook-signature",
        b"webhook-timestamp",
    }
)
_ATTRIBUTE: Final = b"ce-"
"""Prefix of the attributes of a CloudEvent."""


def require_single(scope: Scope) -> None:
    """Raise RequestError for a header that occurs more than once, or two lengths of a body."""
    names = {name for name, _ in scope["headers"]}
    if {b"content-length", b"transfer-encoding"} <= names:
        # A proxy may have read the other length, and another request in the rest of the body.
        raise RequestError(
            HTTPStatus.BAD_REQUEST,
            "repeated_header",
            "the request has both content-length and transfer-encoding: send one of them",
        )
    seen: set[bytes] = set()
    for name, _ in scope["headers"]:
        if name in seen:
            raise RequestError(
                HTTPStatus.BAD_REQUEST,
                "repeated_header",
                f"the header {name.decode('latin-1')} occurs more than once: send it once",
            )
        if name in _SINGLE or name.startswith(_ATTRIBUTE):
            seen.add(name)
