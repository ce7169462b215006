"""Requests of the client, without their transport."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import Enum
from typing import Any, Generic, TypeVar
from urllib.parse import quote
from uuid import UUID

import msgspec

from engine.client.address import PREFIX
from engine.errors import InvalidInput

T = TypeVar("T")
Values = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Request(Generic[T]):
    """A request for a value of the type ``returns``. ``token`` replaces the key of the client."""

    method: str
    path: str
    returns: type[T]
    query: Values = field(default_factory=dict)
    body: Any = None
    content: bytes | None = None
    headers: Mapping[str, str | None] = field(default_factory=dict)
    token: str | None = None

    @property
    def is_repeatable(self) -> bool:
        """Return true if the request, sent again after an unknown outcome, has no other effect."""
        return self.method == "GET" or self.headers.get("Idempotency-Key") is not None

    def with_query(self, **values: Any) -> "Request[T]":
        """Return the request with further parameters."""
        return replace(self, query={**self.query, **values})

    def arguments(self, key: str) -> dict[str, Any]:
        """Return the arguments of the request for httpx2."""
        headers = {name: value for name, value in self.headers.items() if value is not None}
        headers["Authorization"] = f"Bearer {self.token or key}"
        content = self.content
        if self.body is not None:
            headers["Content-Type"] = "application/json"
            given = {name: value for name, value in self.body.items() if value is not UNSET}
            content = msgspec.json.encode(given)
        return {
            "method": self.method,
            "url": PREFIX + self.path,
            "params": list(_pairs(self.query)),
            "content": content,
            "headers": headers,
        }


UNSET = object()
"""Marks a field that is left out of a body."""


def optional(value: T | None) -> T | object:
    """Return the value of an optional field of a body, which is left out if it is None."""
    return UNSET if value is None else value


def segment(value: str | UUID | int) -> str:
    """Return a part of a path. Raises InvalidInput for a text that would name another path."""
    text = str(value)
    if text in ("", ".", ".."):
        raise InvalidInput(f"{text!r} is neither a name nor an id: give one")
    return quote(text, safe="")


def _pairs(query: Values) -> list[tuple[str, str]]:
    pairs: list[tuple[str, str]] = []
    for name, value in query.items():
        values = value if _is_list(value) else () if value is None else (value,)
        pairs += [(name, _text(each)) for each in values]
    return pairs


def _is_list(value: Any) -> bool:
    return isinstance(value, Sequence) and not isinstance(value, str)


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value.value if isinstance(value, Enum) else value)
