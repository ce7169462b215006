"""Receivers of run events: an HTTP endpoint, or a file with one event per line."""

from pathlib import Path
from typing import Protocol
from urllib.parse import unquote, urlsplit

import httpx2
from pydantic import SecretStr

from engine.errors import InvalidInput, ServiceUnavailable

_ENDPOINT = "/api/v1/lineage"
_SECONDS = 5.0
_LATER = frozenset({408, 425, 429})


class Sink(Protocol):
    """Receiver of events as JSON, one at a time; calls may block."""

    def write(self, event: bytes) -> None:
        """Deliver an event. Raises ServiceUnavailable if a retry may succeed, else InvalidInput."""

    def close(self) -> None:
        """Release connections."""


def sink_at(url: str, api_key: SecretStr | None = None) -> Sink:
    """Return the sink of an address, ``http://…``, ``https://…`` or ``file:///…``.

    Raises InvalidInput for any other address, or for a file that cannot be written.
    """
    parts = urlsplit(url)
    if parts.scheme in ("http", "https") and parts.hostname:
        return Http(url, api_key)
    if parts.scheme == "file" and parts.path and not parts.netloc:
        return File(Path(unquote(parts.path)))
    raise InvalidInput(
        "KNOCKON_OPENLINEAGE_URL is not an address that events can be sent to: write "
        "http://host:port or file:///path"
    )


class Http:
    """Post each event; an address without a path gets OpenLineage's default path."""

    def __init__(self, url: str, api_key: SecretStr | None) -> None:
        address = httpx2.URL(url)
        self._url = address.copy_with(path=_ENDPOINT) if address.path == "/" else address
        headers = {"Content-Type": "application/json"}
        if api_key is not None:
            headers["Authorization"] = f"Bearer {api_key.get_secret_value()}"
        self._client = httpx2.Client(timeout=_SECONDS, headers=headers)

    def write(self, event: bytes) -> None:
        """See `Sink`."""
        try:
            status = self._client.post(self._url, content=event).status_code
        except httpx2.TransportError as error:
            raise ServiceUnavailable(f"cannot send events: {error!r}") from error
        if status in _LATER or status >= 500:
            raise ServiceUnavailable(f"the receiver of events answered with status {status}")
        if status >= 300:
            raise InvalidInput(f"the receiver refused an event with status {status}")

    def close(self) -> None:
        """See `Sink`."""
        self._client.close()


class File:
    """Append each event to a file as a line."""

    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            path.open("ab").close()
        except OSError as error:
            raise InvalidInput(f"cannot write events to the file: {error}") from error

    def write(self, event: bytes) -> None:
        """See `Sink`. A line is one system call, so that workers may share a file."""
        try:
            with self._path.open("ab", buffering=0) as file:
                file.write(event + b"\n")
        except OSError as error:
            raise ServiceUnavailable(f"cannot write events to the file: {error}") from error

    def close(self) -> None:
        """See `Sink`."""
