"""Declaration of routes: each calls one operation of the service, which determines its rights."""

from collections.abc import Awaitable, Callable, Coroutine, Iterator
from dataclasses import dataclass
from http import HTTPMethod, HTTPStatus
from typing import Any, Final, get_type_hints

from fastapi import APIRouter
from fastapi.dependencies.models import Dependant
from fastapi.routing import APIRoute
from starlette.requests import Request
from starlette.responses import Response

from engine.errors import InvalidInput
from engine.http.limits import LimitedRequest
from engine.http.problems import FieldError, RequestError, response_to
from engine.model.source_positions import did_you_mean
from engine.model.states import KeyScope, Role

PREFIX: Final = "/api/v1"
Handler = Callable[..., Awaitable[Response]]
Decorator = Callable[[Handler], Handler]
_RAW_BODY = {"requestBody": {"required": True, "content": {"*/*": {"schema": {}}}}}


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A route with its operation; ``returns`` is the type of the response.

    ``is_raw``: the operation reads the body as received, of any content type. ``is_public``: the
    route needs no key.
    """

    method: HTTPMethod
    path: str
    name: str
    summary: str
    operation: Callable[..., Any] | None
    returns: Any
    status: HTTPStatus
    is_raw: bool = False
    is_public: bool = False

    @property
    def requires_task(self) -> bool:
        """Return whether the route requires the token of a task, and permits no key."""
        return getattr(self.operation, "requires_task", False)

    @property
    def role(self) -> Role:
        """Return the role that the route requires."""
        role: Role = getattr(self.operation, "required_role", Role.READER)
        return role

    @property
    def scopes(self) -> frozenset[KeyScope]:
        """Return the scopes of a key, one of which the route requires."""
        scopes: frozenset[KeyScope] = getattr(self.operation, "scopes", frozenset(KeyScope))
        return scopes


class Resource:
    """The routes of a resource below ``/api/v1``."""

    def __init__(self, path: str) -> None:
        self._path = path
        self.endpoints: list[Endpoint] = []
        self.router = APIRouter(
            prefix=PREFIX + path, tags=[path.strip("/").partition("/")[0]], route_class=_Route
        )

    def get(self, path: str, operation: Callable[..., Any] | None, **more: Any) -> Decorator:
        """Declare a route that reads; see `_add` for ``more``."""
        return self._declare(HTTPMethod.GET, path, operation, more)

    def post(self, path: str, operation: Callable[..., Any], **more: Any) -> Decorator:
        """Declare a route that acts; see `_add` for ``more``."""
        return self._declare(HTTPMethod.POST, path, operation, more)

    def delete(self, path: str, operation: Callable[..., Any], **more: Any) -> Decorator:
        """Declare a route that removes; see `_add` for ``more``."""
        return self._declare(HTTPMethod.DELETE, path, operation, more)

    def _declare(
        self,
        method: HTTPMethod,
        path: str,
        operation: Callable[..., Any] | None,
        more: dict[str, Any],
    ) -> Decorator:
        def decorate(handler: Handler) -> Handler:
            self._add(handler, method, path, operation, **more)
            return handler

        return decorate

    def _add(
        self,
        handler: Handler,
        method: HTTPMethod,
        path: str,
        operation: Callable[..., Any] | None,
        *,
        name: str | None = None,
        returns: Any = None,
        status: HTTPStatus = HTTPStatus.OK,
        is_raw: bool = False,
        is_public: bool = False,
        accepts_unknown: bool = False,
    ) -> None:
        """Add a route; ``name`` and ``returns`` are by default those of the operation.

        ``accepts_unknown``: the route ignores unknown query parameters.
        """
        endpoint = Endpoint(
            method=method,
            path=self._path + path,
            name=name or (handler if operation is None else operation).__name__,
            summary=(handler.__doc__ or "").partition("\n")[0],
            operation=operation,
            returns=get_type_hints(operation)["return"] if returns is None else returns,
            status=status,
            is_raw=is_raw,
            is_public=is_public,
        )
        self.endpoints.append(endpoint)
        self.router.add_api_route(
            path,
            handler,
            methods=[method],
            operation_id=endpoint.name,
            summary=endpoint.summary,
            status_code=status,
            response_model=None,
            response_class=Response,
            openapi_extra=_RAW_BODY if is_raw else None,
            route_class_override=APIRoute if accepts_unknown else None,
        )


class _Route(APIRoute):
    """A route that reads JSON within the limits, and accepts no unknown query parameter."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Return the handler of requests."""
        handle = super().get_route_handler()
        known = frozenset(_query_names(self.dependant))

        async def limited(request: Request) -> Response:
            _require_known(request, known)
            wrapped = LimitedRequest(request.scope, request.receive)
            try:
                return await handle(wrapped)
            except Exception as error:
                # FastAPI replaces errors of reading the body by one without the reason.
                if isinstance(error.__cause__, RequestError):
                    return response_to(error.__cause__)
                raise

        return limited


def _require_known(request: Request, known: frozenset[str]) -> None:
    """Reject unknown parameters: a misspelled filter would select everything."""
    unknown = dict.fromkeys(name for name in request.query_params if name not in known)
    if unknown:
        raise RequestError(
            HTTPStatus.UNPROCESSABLE_ENTITY,
            InvalidInput.code,
            "the request is not valid: correct the fields named in errors",
            errors=[FieldError(["query", name], _unknown(name, known)) for name in unknown],
        )


def _unknown(name: str, known: frozenset[str]) -> str:
    return f"there is no such parameter{did_you_mean(name, known)}"


def _query_names(dependant: Dependant) -> Iterator[str]:
    """Yield the names of the query parameters of a handler and its dependencies."""
    yield from (field.alias for field in dependant.query_params)
    for each in dependant.dependencies:
        yield from _query_names(each)
