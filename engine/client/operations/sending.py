"""The table of operations and the requests that carry them out."""

from collections.abc import Awaitable, Callable
from typing import Any, Final, TypeVar

from engine.client.server import AsyncServer

T = TypeVar("T")
Operation = Callable[..., Awaitable[T]]
SENT: Final[dict[Operation[Any], Operation[Any]]] = {}
"""The function that sends an operation to a server, with the operation's own parameters."""


def sends(operation: Operation[T]) -> Callable[[Operation[T]], Operation[T]]:
    """Declare a function that sends an operation; its first parameter is the `AsyncServer`."""

    def declare(function: Operation[T]) -> Operation[T]:
        SENT[operation] = function
        return function

    return declare


async def user_id(server: AsyncServer, user: str) -> str:
    """Return an external id as the id of the user: it may have slashes, which no path can."""
    if "/" not in user:
        return user
    known = {each.external_id: str(each.id) for each in await server.users.list().all()}
    return known.get(user, user)
