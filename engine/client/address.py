"""Addresses of servers, to which keys are sent."""

from ipaddress import ip_address
from typing import Final
from urllib.parse import SplitResult, urlsplit

from engine.errors import InvalidInput

PREFIX: Final = "/api/v1"


def server_url(text: str, *, allows_http: bool = False) -> str:
    """Return the address of a server, without a slash at the end. Raises InvalidInput.

    A key over http to another machine could be read on the way, and is sent only with
    ``allows_http``.
    """
    parts = _parts(text)
    if parts.scheme == "http" and not allows_http and not _is_loopback(parts.hostname or ""):
        raise InvalidInput(
            f"{text!r} would send the key unencrypted: give the https:// address, or set "
            "KNOCKON_ALLOW_HTTP=true in a network that you trust"
        )
    return f"{parts.scheme}://{parts.netloc.lower()}{parts.path.rstrip('/').removesuffix(PREFIX)}"


def _parts(text: str) -> SplitResult:
    try:
        parts = urlsplit(text)
        is_address = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        is_address = False
    if not is_address or not text.isascii() or not text.isprintable() or " " in text:
        raise InvalidInput(
            "the address of the server is not a URL: give one like https://knockon.example.com"
        )
    if parts.username is not None or parts.password is not None:
        raise InvalidInput(
            "the address of the server contains a user or password: leave them out, and give the "
            "key with 'knockon login' or KNOCKON_KEY"
        )
    if parts.query or parts.fragment:
        raise InvalidInput(
            f"the address {text!r} of the server ends after the path: leave out ?, #"
        )
    return parts


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
