"""Division of a request into messages, which are then read as messages of a Kafka topic.

Sources: CloudEvents 1.0.2, its JSON event format, JSON batch format and HTTP protocol binding.
"""

import json
import re
from collections.abc import Iterator, Mapping
from contextlib import suppress
from urllib.parse import unquote

import msgspec

from consumers.http.identity import identity_of
from consumers.http.message import HttpMessage, HttpRequest, Identity, check_number, digest

CLOUDEVENTS = "cloudevents"
_STRUCTURED = "application/cloudevents+json"
_BATCH = "application/cloudevents-batch+json"
_OBJECTS = frozenset({"knockon", CLOUDEVENTS, "debezium", "record", "openlineage"})
"""Formats with JSON objects as messages, so that an array in a body has several messages."""

_START, _COMMA, _END = map(re.compile, (r"\s*\[\s*", r"\s*,\s*", r"\s*\]\s*\Z"))
_lenient = json.JSONDecoder(strict=False, parse_int=str, parse_float=str)
_array = msgspec.json.Decoder(list[msgspec.Raw])


def split(format_: str, request: HttpRequest) -> list[HttpMessage]:
    """Divide a request to an endpoint of a format into messages, in order.

    A body that cannot be divided is one message, which reading rejects. Raises InvalidInput if
    there are too many messages.
    """
    headers = _headers(format_, request.headers)
    values = _values(format_, request)
    check_number(len(values))
    request_id = request.headers.get("webhook-id") or request.headers.get("idempotency-key")
    return [
        HttpMessage(value, headers, _identity(format_, value, headers, request_id, index))
        for index, value in enumerate(values)
    ]


def is_binary(format_: str, headers: Mapping[str, str]) -> bool:
    """Return whether the attributes of a CloudEvent are headers of the request."""
    is_in_body = _media_type(headers).startswith("application/cloudevents")
    return format_ == CLOUDEVENTS and "ce-specversion" in headers and not is_in_body


def _values(format_: str, request: HttpRequest) -> list[bytes | None]:
    """The value of each message."""
    media_type = _media_type(request.headers)
    is_batch = format_ == CLOUDEVENTS and media_type == _BATCH
    is_single = format_ not in _OBJECTS or media_type == _STRUCTURED
    if is_batch or not (is_single or is_binary(format_, request.headers)):
        elements = _elements(request.body)
        # A batch may be empty; an empty array of another kind is rejected, as on a topic.
        if elements or (elements is not None and is_batch):
            return elements
    return [request.body or None]


def _elements(body: bytes) -> list[bytes | None] | None:
    """The elements of a JSON array, unmodified; None for any other body."""
    if body.lstrip()[:1] != b"[":
        return None
    with suppress(ValueError, RecursionError):
        return [bytes(element) for element in _array.decode(body)]
    with suppress(ValueError, RecursionError):
        return list(_scanned(body.decode()))
    return None


def _scanned(text: str) -> Iterator[bytes]:
    """The elements of an array of which some are invalid, such as texts with a lone surrogate.

    Only those are to be rejected. Raises ValueError if the array itself is malformed.
    """
    at = _START.match(text, 0)
    while at is not None:
        _, end = _lenient.raw_decode(text, at.end())
        yield text[at.end() : end].encode()
        if _END.match(text, end):
            return
        at = _COMMA.match(text, end)
    raise ValueError("an element is followed by neither a comma nor the end")


def _headers(format_: str, headers: Mapping[str, str]) -> dict[str, str]:
    """The headers that formats read, with names as on a topic.

    There are no others, such as keys, because dead letters store them.
    """
    if format_ == CLOUDEVENTS and _media_type(headers) == _BATCH:
        return {"content-type": _STRUCTURED}
    kept = {name: headers[name] for name in ("content-type",) if name in headers}
    if is_binary(format_, headers):
        kept |= {
            f"ce_{name.removeprefix('ce-')}": _decoded(text)
            for name, text in headers.items()
            if name.startswith("ce-")
        }
    return kept


def _decoded(text: str) -> str:
    """Decode an attribute in a header: a quoted or plain text with percent-encoded characters."""
    if len(text) > 1 and text[0] == text[-1] == '"':
        text = re.sub(r"\\(.)", r"\1", text[1:-1])
    return unquote(text, errors="backslashreplace")


def _media_type(headers: Mapping[str, str]) -> str:
    return headers.get("content-type", "").partition(";")[0].strip().lower()


def _identity(
    format_: str,
    value: bytes | None,
    headers: Mapping[str, str],
    request_id: str | None,
    index: int,
) -> Identity | None:
    """The identity of a message, or else its index in a request with an identity."""
    identity = identity_of(format_, value, headers)
    if identity is None and request_id:
        return Identity(f"request {request_id} {index}", digest(value or b""))
    return identity
