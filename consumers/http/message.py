"""Messages received over HTTP."""

from collections.abc import Mapping
from hashlib import sha256

import msgspec

from engine.errors import InvalidInput
from engine.model.event import Delivery

HTTP = "http"
"""The consumer of all messages received over HTTP, and the prefix of their streams."""

OPENLINEAGE_ENDPOINT = "openlineage"
"""The endpoint of run events that are sent to OpenLineage's own path, /api/v1/lineage."""

MAX_MESSAGES = 10_000
"""Limit on the messages in one request."""


class Identity(msgspec.Struct, frozen=True):
    """The identity of a message, the same in every delivery of it.

    ``content`` is a digest of the parts that a sender repeats unchanged.
    """

    id: str
    content: str


class HttpMessage(msgspec.Struct, frozen=True):
    """One message of a request, with value and headers as in a Kafka message.

    Without an ``identity``, two deliveries of the message are two changes.
    """

    value: bytes | None
    headers: Mapping[str, str] = {}
    identity: Identity | None = None

    @property
    def position(self) -> str:
        """The position in the stream of the endpoint: the same in every delivery of the message."""
        if self.identity is not None:
            return digest(self.identity.id)[:32]
        return digest(self.value or b"", msgspec.json.encode(self.headers, order="sorted"))[:32]

    def delivery(self, endpoint: str) -> Delivery:
        """The message as a delivery of the endpoint's stream."""
        return Delivery(stream_of(endpoint), self.position, self.value, self.headers)


class HttpRequest(msgspec.Struct, frozen=True, kw_only=True):
    """The headers and the body of a request to an endpoint; names of headers are in lower case."""

    headers: Mapping[str, str]
    body: bytes


def http_request(headers: Mapping[str, str], body: bytes) -> HttpRequest:
    """Make a request, with names of headers in any case."""
    return HttpRequest(headers={name.lower(): text for name, text in headers.items()}, body=body)


def check_number(messages: int) -> None:
    """Raise InvalidInput for more messages than a request may have."""
    if messages > MAX_MESSAGES:
        raise InvalidInput(
            f"the request has {messages} messages: send at most {MAX_MESSAGES} per request"
        )


def stream_of(endpoint: str) -> str:
    """The name of an endpoint in Knockon's database."""
    return f"{HTTP}/{endpoint}"


def endpoint_of(stream: str) -> str | None:
    """The endpoint of a stream; None for streams of other transports."""
    transport, _, endpoint = stream.partition("/")
    return endpoint if transport == HTTP else None


def digest(*parts: str | bytes) -> str:
    """A digest of texts and bytes, distinct for distinct sequences of parts."""
    hashed = sha256()
    for part in parts:
        encoded = part.encode(errors="surrogatepass") if isinstance(part, str) else part
        hashed.update(len(encoded).to_bytes(8))
        hashed.update(encoded)
    return hashed.hexdigest()
