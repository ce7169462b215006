"""Where run events go: to an address that takes them over HTTP, or into a file, one a line."""

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
    """Takes events as JSON, one after the other, and may block."""

    def write(self, event: bytes) -> None:
        """Hand over. Raises ServiceUnavailable for now, InvalidInput for good."""

    def close(self) -> None:
        """Let go of what is held."""


def sink_at(url: str, api_key: SecretStr | None = None) -> Sink:
    """The sink of an address, ``http://…``, ``https://…`` or ``file:///…``.

    Raises InvalidInput for another one, or for a file that cannot be written.
    """
    parts = urlsplit(url)
    if parts.scheme in ("http", "https") and parts.hostname:
        return Http(url, api_key)
    if parts.scheme == "file" and parts.path and not parts.netloc:
        return File(Path(unquote(parts.path)))
    raise InvalidInput(
        "KNOCKON_OPENLINEAGE_URL is no address that events can be sent to: write "
        "http://host:port or file:///path"
    )


class Http:
    """Posts each event; without a path in the address to OpenLineage's own."""

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
            raise ServiceUnavailable(f"events cannot be sent: {error!r}") from error
        if status in _LATER or status >= 500:
            raise ServiceUnavailable(f"the receiver of events answers {status}")
        if status >= 300:
            raise InvalidInput(f"the receiver of events refuses one with {status}")

    def close(self) -> None:
        """See `Sink`."""
        self._client.close()


class File:
    """Appends each event as a line."""

    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            path.open("ab").close()
        except OSError as error:
            raise InvalidInput(f"events cannot be written to a file: {error}") from error

    def write(self, event: bytes) -> None:
        """See `Sink`. One call to the system a line, so that workers may share a file."""
        try:
            with self._path.open("ab", buffering=0) as file:
                file.write(event + b"\n")
        except OSError as error:
            raise ServiceUnavailable(f"events cannot be written: {error}") from error

    def close(self) -> None:
        """See `Sink`."""
