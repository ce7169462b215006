"""The OpenAPI document: schemas of responses come from the structs of the service."""

from collections.abc import Callable, Iterable
from importlib.metadata import version
from types import NoneType
from typing import Any, Final

import msgspec
from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from engine.http.endpoints import PREFIX, endpoints
from engine.http.problems import Problem
from engine.http.resource import Endpoint

_REFERENCE: Final = "#/components/schemas/{name}"
_JSON, _PROBLEM, _STREAM = "application/json", "application/problem+json", "text/event-stream"
_SCHEMES: Final = {
    "key": {
        "type": "http",
        "scheme": "bearer",
        "description": "A key, `kn_…`, or a token of the identity provider.",
    },
    "session": {
        "type": "apiKey",
        "in": "cookie",
        "name": "__Host-knockon_session",
        "description": "A session in a browser, started by `/login`.",
    },
    "password": {
        "type": "http",
        "scheme": "basic",
        "description": "Any user name, and a key as the password.",
    },
    "token": {"type": "http", "scheme": "bearer", "description": "The token of a task, `kt_…`."},
}
_DESCRIPTION = (
    "Keys identify callers: `Authorization: Bearer kn_…`. So do tokens of the identity provider, "
    "with the header `Knockon-Org` for people in several orgs, and sessions in a browser. "
    "Operations on claimed tasks need the token of the claim instead, `Authorization: Bearer "
    "kt_…`. Errors are problem details (RFC 9457), with a `type` that stays the same between "
    "releases. Lists are read page by page, with the cursor `next`."
)


def openapi_of(app: FastAPI) -> Callable[[], dict[str, Any]]:
    """Return the function that generates the document of an app, once."""

    def document() -> dict[str, Any]:
        if app.openapi_schema is None:
            app.openapi_schema = _document(app)
        return app.openapi_schema

    return document


def _document(app: FastAPI) -> dict[str, Any]:
    document = get_openapi(
        title="Knockon", version=version("knockon"), description=_DESCRIPTION, routes=app.routes
    )
    declared = endpoints()
    schemas, components = msgspec.json.schema_components(
        [Problem, *(endpoint.returns for endpoint in declared)], ref_template=_REFERENCE
    )
    problem, *returned = schemas
    parts = document.setdefault("components", {})
    parts["schemas"] = _own(parts.get("schemas", {})) | components
    parts["securitySchemes"] = _SCHEMES
    for endpoint, schema in zip(declared, returned, strict=True):
        operation = document["paths"][PREFIX + endpoint.path][endpoint.method.lower()]
        operation["description"] = _rights(endpoint)
        operation["responses"] = _responses(endpoint, schema, problem)
        operation["security"] = _security(endpoint)
    return document


def _own(schemas: dict[str, Any]) -> dict[str, Any]:
    """Return the schemas of bodies, without FastAPI's own schemas of errors."""
    return {
        name: schema
        for name, schema in schemas.items()
        if name not in ("HTTPValidationError", "ValidationError")
    }


def _responses(endpoint: Endpoint, schema: Any, problem: Any) -> dict[str, Any]:
    kind = _STREAM if endpoint.name == "stream_events" else _JSON
    content = {} if endpoint.returns is NoneType else {"content": {kind: {"schema": schema}}}
    succeeded = {"description": endpoint.summary, **content}
    return {
        **{str(status): succeeded for status in _statuses(endpoint)},
        "default": {"description": "An error", "content": {_PROBLEM: {"schema": problem}}},
    }


def _statuses(endpoint: Endpoint) -> Iterable[int]:
    """Return the statuses of success; a repeated request for an invalidation has another."""
    repeated = [200] if endpoint.name == "invalidate" else []
    return [int(endpoint.status), *repeated]


def _security(endpoint: Endpoint) -> list[dict[str, list[str]]]:
    if endpoint.is_public:
        return []
    if endpoint.requires_task:
        return [{"token": []}]
    names = ("key", "session", "password") if endpoint.is_raw else ("key", "session")
    return [{name: []} for name in names]


def _rights(endpoint: Endpoint) -> str:
    if endpoint.is_public:
        return "Requires no key."
    if endpoint.requires_task:
        return f"Requires the role `{endpoint.role}`, which the token of the task has."
    scopes = " or ".join(f"`{scope}`" for scope in sorted(endpoint.scopes))
    return f"Requires the role `{endpoint.role}`, and a key with the scope {scopes}."
