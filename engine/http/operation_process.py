"""A process of the service that runs costly operations, one after the other.

The first message is a `Start`, each of the others an `CostlyOperation`.
"""

import asyncio
import os
import resource
import signal
import sys
from typing import BinaryIO

import structlog
from structlog.contextvars import bound_contextvars

from engine.errors import KnockonError, TooCostly
from engine.http.encoding import encode
from engine.http.frames import CostlyOperation, Outcome, Start, framed, read_frame
from engine.logs import configure_logs
from engine.service.service import Service
from engine.settings import read_settings

_log = structlog.get_logger(__name__)
_MOST_MEMORY = 2 << 30
_CONNECTIONS = 2


async def run(operation: CostlyOperation, service: Service) -> Outcome:
    """Run an operation."""
    with bound_contextvars(request=operation.request):
        try:
            result = await operation.run(
                operation.caller, service, *operation.args, **operation.kwargs
            )
            shaped = result if operation.shape is None else operation.shape(result)
            return Outcome(body=encode(shaped))
        except KnockonError as error:
            return Outcome(error=error)
        except (MemoryError, RecursionError):
            return Outcome(
                error=TooCostly(
                    "the request needs too much memory: send less at once, or values that are "
                    "nested less deeply"
                )
            )
        except Exception:
            _log.exception("a costly operation failed unexpectedly")
            return Outcome()


async def serve(start: Start, requests: BinaryIO, outcomes: BinaryIO) -> None:
    """Run operations until the pipe ends."""
    async with Service.open(**start.opening, pool_size=_CONNECTIONS) as service:
        while (operation := await asyncio.to_thread(read_frame, requests)) is not None:
            signal.setitimer(signal.ITIMER_REAL, start.seconds)
            _send(outcomes, await run(operation, service))
            signal.setitimer(signal.ITIMER_REAL, 0)


def main() -> None:
    """Serve the pipes of the process."""
    outcomes = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # nothing else may write to the pipe
    resource.setrlimit(resource.RLIMIT_DATA, (_MOST_MEMORY, _MOST_MEMORY))
    configure_logs(read_settings())
    requests = sys.stdin.buffer
    start = read_frame(requests)
    try:
        asyncio.run(serve(start, requests, outcomes))
    except KnockonError as error:
        if read_frame(requests) is not None:
            _send(outcomes, Outcome(error=error))


def _send(pipe: BinaryIO, outcome: Outcome) -> None:
    pipe.write(framed(outcome))
    pipe.flush()


if __name__ == "__main__":
    main()
