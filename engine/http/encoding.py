"""Responses: msgspec structs of the service, encoded as JSON."""

from http import HTTPStatus
from typing import Any, Final

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from engine.http.etags import etag_of, is_known

_VARY: Final = "authorization, cookie, knockon-org"


def json_response(request: Request, value: Any, status: HTTPStatus = HTTPStatus.OK) -> Response:
    """Return a value as JSON; see `encoded_response`."""
    return encoded_response(request, encode(value), status)


def encoded_response(request: Request, body: bytes, status: HTTPStatus = HTTPStatus.OK) -> Response:
    """Return JSON; to a GET with an ETag, and without a body if the client has it."""
    if request.method != "GET":
        return _json(body, status)
    headers = {"etag": etag_of(body), "cache-control": "private, no-cache", "vary": _VARY}
    if is_known(headers["etag"], ", ".join(request.headers.getlist("if-none-match"))):
        return Response(status_code=HTTPStatus.NOT_MODIFIED, headers=headers)
    return _json(body, status, headers)


def encode(value: Any) -> bytes:
    """Encode a value; text may have lone surrogates, which are escaped."""
    try:
        return msgspec.json.encode(value)
    except UnicodeEncodeError:
        return msgspec.json.encode(_escaped(msgspec.to_builtins(value)))


def _escaped(value: Any) -> Any:
    """Replace what UTF-8 cannot represent in all texts of a value."""
    if isinstance(value, str):
        return value.encode(errors="replace").decode()
    if isinstance(value, dict):
        return {_escaped(key): _escaped(item) for key, item in value.items()}
    return [_escaped(item) for item in value] if isinstance(value, list | tuple) else value


def _json(body: bytes, status: HTTPStatus, headers: dict[str, str] | None = None) -> Response:
    return Response(body, status, headers=headers, media_type="application/json")
