"""Messages in HTTP requests: their signatures, and their division into messages with identities."""

from consumers.http.message import HttpMessage, HttpRequest, Identity, endpoint_of, stream_of
from consumers.http.signatures import keys_of, verify
from consumers.http.split import split

__all__ = [
    "HttpMessage",
    "HttpRequest",
    "Identity",
    "endpoint_of",
    "keys_of",
    "split",
    "stream_of",
    "verify",
]
