"""Problem details (RFC 9457) of errors, with a stable type for each code."""

from collections.abc import Mapping, Sequence
from http import HTTPStatus
from math import ceil
from typing import Any, cast

import msgspec
import structlog
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Match, Route

from engine.errors import (
    Forbidden,
    IdempotencyConflict,
    InvalidInput,
    KnockonError,
    LeaseLost,
    OutdatedCode,
    PositionExpired,
    PositionLost,
    QuotaExceeded,
    SchemaInUse,
    ServiceUnavailable,
    TooManyEvents,
    Unauthenticated,
    UnknownName,
)
from engine.model.text import storable
from engine.service.responses import PROBLEM_TYPE, FieldError, Problem

__all__ = ["FieldError", "Problem", "RequestError", "problem", "response_to", "status_of"]

_log = structlog.get_logger(__name__)
_RETRY_SECONDS = 2
_STATUSES: Mapping[type[KnockonError], HTTPStatus] = {
    UnknownName: HTTPStatus.NOT_FOUND,
    IdempotencyConflict: HTTPStatus.CONFLICT,
    PositionExpired: HTTPStatus.GONE,
    InvalidInput: HTTPStatus.UNPROCESSABLE_ENTITY,
    Unauthenticated: HTTPStatus.UNAUTHORIZED,
    Forbidden: HTTPStatus.FORBIDDEN,
    LeaseLost: HTTPStatus.CONFLICT,
    PositionLost: HTTPStatus.CONFLICT,
    QuotaExceeded: HTTPStatus.CONFLICT,
    TooManyEvents: HTTPStatus.TOO_MANY_REQUESTS,
    SchemaInUse: HTTPStatus.CONFLICT,
    ServiceUnavailable: HTTPStatus.SERVICE_UNAVAILABLE,
    OutdatedCode: HTTPStatus.SERVICE_UNAVAILABLE,
}
_CODES_OF_HTTP = {
    HTTPStatus.BAD_REQUEST: "malformed_request",
    HTTPStatus.NOT_FOUND: "unknown_path",
    HTTPStatus.METHOD_NOT_ALLOWED: "method_not_allowed",
}


class RequestError(KnockonError):
    """A request rejected by the adapter, before any operation."""

    def __init__(
        self,
        status: HTTPStatus,
        code: str,
        detail: str,
        *,
        errors: Sequence[FieldError] = (),
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(detail)
        self.status = status
        self.problem_code = code
        self.errors = errors
        self.headers = headers or {}


def response_to(error: Exception) -> Response:
    """Return the response to an error; an unexpected one is logged, and not described."""
    if isinstance(error, RequestError):
        return problem(error.status, error.problem_code, str(error), error.errors, error.headers)
    status = status_of(type(error))
    if status is None:
        _log.error("unexpected error of a request", exc_info=error)
        return problem(
            HTTPStatus.INTERNAL_SERVER_ERROR,
            "internal_error",
            "an unexpected error occurred: the log of the service describes it",
        )
    if status == HTTPStatus.SERVICE_UNAVAILABLE:
        return _unavailable(error)
    headers = {"www-authenticate": "Bearer"} if status == HTTPStatus.UNAUTHORIZED else {}
    if isinstance(error, TooManyEvents):
        headers = {"retry-after": str(max(ceil(error.seconds), 1))}
    return problem(status, _code(error), str(error), (), headers)


def status_of(error: type[Exception]) -> HTTPStatus | None:
    """Return the status of a class of errors; None for errors that are the service's own."""
    return next((_STATUSES[base] for base in error.__mro__ if base in _STATUSES), None)


def problem(
    status: HTTPStatus,
    code: str,
    detail: str,
    errors: Sequence[FieldError] = (),
    headers: Mapping[str, str] | None = None,
) -> Response:
    """Return a response with problem details."""
    title = code.replace("_", " ").capitalize()
    body = Problem(PROBLEM_TYPE + code, title, status, storable(detail), list(errors))
    return Response(
        msgspec.json.encode(body),
        status,
        headers={"content-type": "application/problem+json", **(headers or {})},
    )


async def on_http_error(request: Request, error: Exception) -> Response:
    """Return the response to an error of routing, or of reading the request."""
    rejected = cast("HTTPException", error)
    status, headers = HTTPStatus(rejected.status_code), rejected.headers
    if status == HTTPStatus.METHOD_NOT_ALLOWED:
        headers = {"allow": ", ".join(_methods_of(request))}
    code = _CODES_OF_HTTP.get(status, "malformed_request")
    return problem(status, code, str(rejected.detail), (), headers)


def _methods_of(request: Request) -> list[str]:
    """Return the methods of the path of a request, each of which has a route of its own."""
    routes = [route for route in request.app.routes if isinstance(route, Route)]
    path = next(each.path for each in routes if each.matches(request.scope)[0] is not Match.NONE)
    found = (route.methods or () for route in routes if route.path == path)
    return sorted({method for methods in found for method in methods})


async def on_invalid_request(_: Request, error: Exception) -> Response:
    """Return the response to a request that does not match the declared parameters or body."""
    invalid = cast("RequestValidationError", error).errors()
    return problem(
        HTTPStatus.UNPROCESSABLE_ENTITY,
        InvalidInput.code,
        "the request is not valid: correct the fields named in errors",
        [_field_error(each) for each in invalid],
    )


def _field_error(error: dict[str, Any]) -> FieldError:
    location = [part if isinstance(part, int) else storable(part) for part in error["loc"]]
    return FieldError(location, storable(error["msg"]))


def _code(error: Exception) -> str:
    return error.code if isinstance(error, KnockonError) else "internal_error"


def _unavailable(error: Exception) -> Response:
    """Return the response during an outage; addresses and statements appear in the log only."""
    _log.warning("a request met an outage", why=str(error))
    return problem(
        HTTPStatus.SERVICE_UNAVAILABLE,
        _code(error),
        "the service cannot work at the moment: try again later",
        (),
        {"retry-after": str(_RETRY_SECONDS)},
    )
