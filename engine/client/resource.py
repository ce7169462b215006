"""Base classes of the generated resources."""

from engine.client.connections import AsyncConnection, Connection


class Resource:
    """Requests below one path."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection


class AsyncResource:
    """Requests below one path."""

    def __init__(self, connection: AsyncConnection) -> None:
        self._connection = connection
