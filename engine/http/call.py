"""Calls of operations of the service by a request."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import Annotated, Any, Concatenate, ParamSpec, TypeVar

from fastapi import Depends
from starlette.requests import Request
from starlette.responses import Response

from engine.http.costly import CostlyOperations
from engine.http.encoding import encoded_response, json_response
from engine.http.frames import CostlyOperation
from engine.http.pages import Page
from engine.service.caller import Caller, require_rights
from engine.service.service import Service

P = ParamSpec("P")
T = TypeVar("T")
Operation = Callable[Concatenate[Caller, Service, P], Awaitable[T]]


@dataclass(frozen=True, slots=True)
class RequestCall:
    """The caller of a request, with the service."""

    request: Request
    service: Service
    caller: Caller

    async def run(self, operation: Operation[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        """Run an operation for the caller."""
        return await operation(self.caller, self.service, *args, **kwargs)

    async def answer(
        self, operation: Operation[P, Any], /, *args: P.args, **kwargs: P.kwargs
    ) -> Response:
        """Run an operation, and respond with the result."""
        return self.json(await self.run(operation, *args, **kwargs))

    async def answer_all(
        self, operation: Operation[P, Sequence[Any]], /, *args: P.args, **kwargs: P.kwargs
    ) -> Response:
        """Run an operation with a short list as the result, and respond with a single page."""
        return self.json(Page(await self.run(operation, *args, **kwargs)))

    def costly(
        self, shape: Callable[[Any], Any] | None = None, status: HTTPStatus = HTTPStatus.OK
    ) -> "CostlyCall":
        """Return the call of an operation in another process.

        ``shape`` turns the result into the value of the response.
        """
        return CostlyCall(self, shape, status)

    def json(self, value: Any, status: HTTPStatus = HTTPStatus.OK) -> Response:
        """Respond with a value."""
        return json_response(self.request, value, status)


@dataclass(frozen=True, slots=True)
class CostlyCall:
    """The call of an operation that may take any time of a processor."""

    call: RequestCall
    shape: Callable[[Any], Any] | None
    status: HTTPStatus

    async def answer(
        self, operation: Operation[P, Any], /, *args: P.args, **kwargs: P.kwargs
    ) -> Response:
        """Run an operation, and respond with the result. Raises TooCostly."""
        caller, request = self.call.caller, self.call.request
        require_rights(operation, caller)
        processes: CostlyOperations = request.app.state.costly
        name = f"{request.method} {request.url.path}"
        costly = CostlyOperation(operation, caller, args, kwargs, self.shape, name)
        return encoded_response(request, await processes.run(costly), self.status)


async def _call(request: Request) -> RequestCall:  # a plain function would run in a thread
    return RequestCall(request, request.app.state.service, request.state.caller)


Call = Annotated[RequestCall, Depends(_call)]
