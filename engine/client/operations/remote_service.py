"""The service of a server, for the adapters that call operations."""

from typing import Any

from engine.client.operations import access, commands, queries
from engine.client.operations.sending import SENT
from engine.client.server import AsyncServer
from engine.errors import InvalidInput
from engine.service.remote import Remote

__all__ = ["MODULES", "RemoteService"]

MODULES = (access, commands, queries)
"""The modules that declare how operations are sent."""


class RemoteService(Remote):
    """Sends operations to a server, which runs them for the user of the key."""

    def __init__(self, server: AsyncServer) -> None:
        self._server = server

    async def send(self, operation: Any, *arguments: Any, **named: Any) -> Any:
        """Run an operation at the server. Raises InvalidInput for one without a request."""
        function = SENT.get(operation)
        if function is None:
            raise InvalidInput(
                f"the operation {operation.__name__} is not possible with a server: run the "
                "command beside the database, without --server and KNOCKON_SERVER"
            )
        return await function(self._server, *arguments, **named)
