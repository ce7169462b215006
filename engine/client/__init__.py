"""Clients of the HTTP service: `Server`, and `AsyncServer` for asyncio.

Modules of `generated` have the typed methods, written by `make reference` from the routes.
`operations` sends the operations of the service, so that commands run with a server as with a
database.
"""

from engine.client.server import AsyncServer, Server

__all__ = ["AsyncServer", "Server"]
