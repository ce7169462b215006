"""Messages between the service and its processes for costly operations, on pipes."""

import asyncio
import pickle
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from struct import Struct
from typing import Any, BinaryIO

from engine.errors import KnockonError
from engine.service.caller import Caller

_LENGTH = Struct("!Q")


@dataclass(frozen=True, slots=True)
class Start:
    """The arguments of `Service.open`, and the most seconds of an operation.

    The process then ends by itself, in case the service is gone.
    """

    opening: Mapping[str, Any]
    seconds: float


@dataclass(frozen=True, slots=True)
class CostlyOperation:
    """An operation to be run; ``request`` names its request in log lines.

    ``shape`` turns the result into the value of the response.
    """

    run: Callable[..., Awaitable[Any]]
    caller: Caller
    args: Sequence[Any]
    kwargs: Mapping[str, Any]
    shape: Callable[[Any], Any] | None
    request: str


@dataclass(frozen=True, slots=True)
class Outcome:
    """The encoded result of an operation, or its error; neither, if the error is unexpected."""

    body: bytes | None = None
    error: KnockonError | None = None


def framed(message: object) -> bytes:
    """Return a message with its length."""
    content = pickle.dumps(message)
    return _LENGTH.pack(len(content)) + content


def read_frame(pipe: BinaryIO) -> Any:
    """Return the next message; None at the end."""
    head = pipe.read(_LENGTH.size)
    if len(head) < _LENGTH.size:
        return None
    # Only the service and its own processes write to the pipes.
    return pickle.loads(pipe.read(_LENGTH.unpack(head)[0]))  # noqa: S301


async def receive_frame(reader: asyncio.StreamReader) -> Any:
    """Return the next message. Raises IncompleteReadError if the other process has ended."""
    (length,) = _LENGTH.unpack(await reader.readexactly(_LENGTH.size))
    return pickle.loads(await reader.readexactly(length))  # noqa: S301
