"""A network between a client and PostgreSQL that can silently go dead."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from psycopg.conninfo import conninfo_to_dict, make_conninfo

_TERMINATE = b"X\0\0\0\4"


class Proxy:
    """Proxy of bytes; ``url`` is the database's address through the proxy.

    ``keeps_sessions``: server sessions outlast their clients, as behind a pooler.
    """

    def __init__(self, url: str, *, keeps_sessions: bool = False) -> None:
        self._to = conninfo_to_dict(url)
        self._keeps_sessions = keeps_sessions
        self._url = url
        self._lines: list[_Line] = []
        self._last_text: bytes | None = None
        self.url = ""

    @property
    def connections(self) -> int:
        """Return the number of connections accepted so far."""
        return len(self._lines)

    def go_dead(self) -> None:
        """Drop all traffic on existing connections, with TCP acknowledgements still sent."""
        for line in self._lines:
            line.is_dead = True

    def go_dead_at(self, text: bytes) -> None:
        """Do the same to a connection once a message with this text is sent."""
        self._last_text = text

    async def accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there_reader, there_writer = await self._connect()
        line = _Line(self._last_text)
        self._lines.append(line)
        carrying = [
            line.carry(reader, there_writer, keeps_open=self._keeps_sessions),
            line.carry(there_reader, writer),
        ]
        try:
            await asyncio.gather(*carrying)
        except asyncio.CancelledError:  # the test has ended
            for each in (writer, there_writer):
                each.close()

    def reach(self, port: int) -> None:
        """Return the proxy's address."""
        self.url = make_conninfo(self._url, host="127.0.0.1", port=port)

    async def _connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        host, port = str(self._to.get("host", "localhost")), int(self._to.get("port") or 5432)
        if host.startswith("/"):
            return await asyncio.open_unix_connection(f"{host}/.s.PGSQL.{port}")
        return await asyncio.open_connection(host, port)


class _Line:
    """One connection, in both directions."""

    def __init__(self, last_text: bytes | None) -> None:
        self.is_dead = False
        self._last_text = last_text

    async def carry(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        *,
        keeps_open: bool = False,
    ) -> None:
        with suppress(ConnectionError):
            while chunk := await reader.read(65536):
                self.is_dead |= self._last_text is not None and self._last_text in chunk
                if not self.is_dead:
                    writer.write(chunk.removesuffix(_TERMINATE) if keeps_open else chunk)
            if not self.is_dead and not keeps_open:
                writer.close()


@asynccontextmanager
async def proxy_to(url: str, *, keeps_sessions: bool = False) -> AsyncIterator[Proxy]:
    """Run a proxy to a database during the body."""
    proxy = Proxy(url, keeps_sessions=keeps_sessions)
    server = await asyncio.start_server(proxy.accept, "127.0.0.1", 0)
    proxy.reach(server.sockets[0].getsockname()[1])
    async with server:
        yield proxy
