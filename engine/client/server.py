"""The public clients of a server."""

from types import TracebackType
from typing import Self

from pydantic import SecretStr

from engine.client.address import server_url
from engine.client.connections import AsyncConnection, Connection
from engine.client.generated.asynchronous import AsyncResources
from engine.client.generated.blocking import Resources
from engine.client.stored_keys import stored_key
from engine.errors import Unauthenticated
from engine.settings import read_settings


class Server(Resources):
    """A server of Knockon, for blocking code; `with` closes the connections.

    Without a ``key``, `KNOCKON_KEY` is used, or the key stored by `knockon login`. An http address
    of another machine requires ``allow_http``, because the key would be sent unencrypted. Methods
    raise the errors of `knockon`, such as `UnknownName`.
    """

    def __init__(self, url: str, key: str | None = None, *, allow_http: bool = False) -> None:
        address = server_url(url, allows_http=allow_http)
        self._connection = Connection(address, _usable(key or key_of(address, read_settings().key)))
        super().__init__(self._connection)

    @property
    def url(self) -> str:
        """Return the address of the server."""
        return self._connection.url

    def close(self) -> None:
        """Close the connections."""
        self._connection.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


class AsyncServer(AsyncResources):
    """A server of Knockon, for asyncio; `async with` closes the connections.

    The arguments are those of `Server`.
    """

    def __init__(self, url: str, key: str | None = None, *, allow_http: bool = False) -> None:
        address = server_url(url, allows_http=allow_http)
        self._connection = AsyncConnection(
            address, _usable(key or key_of(address, read_settings().key))
        )
        super().__init__(self._connection)

    @property
    def url(self) -> str:
        """Return the address of the server."""
        return self._connection.url

    async def close(self) -> None:
        """Close the connections."""
        await self._connection.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.close()


def key_of(address: str, configured: SecretStr | None) -> str:
    """Return the configured or stored key for a server. Raises Unauthenticated."""
    key = stored_key(address) if configured is None else configured.get_secret_value()
    if not key:
        raise Unauthenticated(
            f"there is no key for {address}: run 'knockon login --server {address}', or set "
            "KNOCKON_KEY"
        )
    return key


def _usable(key: str) -> str:
    """Return a key that a header can carry. Raises Unauthenticated."""
    if not key.isascii() or not key.isprintable() or " " in key:
        raise Unauthenticated("this is no key of Knockon: a key begins with kn_")
    return key
