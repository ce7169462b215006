"""Placeholders for large values that an update did not touch, in the notation of every type.

Source: Debezium's PostgreSQL connector and its setting `unavailable.value.placeholder`. A notation
that is missing here counts as a changed value.
"""

from base64 import b64decode, b64encode, urlsafe_b64encode
from decimal import Decimal
from hashlib import md5
from typing import Any
from uuid import UUID

import msgspec
from msgspec import Raw

DEFAULT = "__debezium_unavailable_value"
_OPENS = b"[{"
_MAX_NUMBER_BYTES = 64
"""Maximum size of one array element as JSON."""


class Placeholders:
    """All notations of one placeholder."""

    def __init__(self, text: str = DEFAULT) -> None:
        raw = text.encode()
        hstore = msgspec.json.encode({text: text}).decode()
        digest = md5(raw, usedforsecurity=False).digest()
        self._bytes = raw
        self._texts = {text, b64encode(raw).decode(), urlsafe_b64encode(raw).decode()}
        self._texts |= {raw.hex(), hstore}
        self._json = {msgspec.json.encode(notation) for notation in self._texts}
        self._composites = (raw, {text: text}, [raw], [str(UUID(bytes=digest, version=3))])
        self._max_bytes = 100 + _MAX_NUMBER_BYTES * len(raw)

    def __contains__(self, cell: Any) -> bool:
        """Return whether a cell, as JSON or decoded, is a placeholder for a missing value."""
        kind = type(cell)
        if kind is Raw:
            return self._contains_json(bytes(cell))
        if kind is str:
            return cell in self._texts
        if kind is list:
            return self._is_array(cell)
        return kind in (bytes, dict) and cell in self._composites

    def _contains_json(self, text: bytes) -> bool:
        if text[0] not in _OPENS or len(text) > self._max_bytes:
            return text in self._json
        return msgspec.json.decode(text) in self

    def _is_array(self, cells: list[Any]) -> bool:
        if len(cells) == 1:
            return cells[0] in self or cells in self._composites
        # A numeric array has one element per byte of the placeholder.
        return len(cells) == len(self._bytes) and all(
            _number(cell) == byte for cell, byte in zip(cells, self._bytes, strict=True)
        )


def _number(cell: Any) -> Any:
    """The number in an array element, with the decimal point removed."""
    match cell:
        case bool():
            return None
        case Decimal():
            return int("".join(map(str, cell.as_tuple().digits)))
        case str():
            return _unscaled(cell)
        case {"scale": 0, "value": value}:
            return _unscaled(value)
    return cell


def _unscaled(value: Any) -> int | None:
    try:
        raw = b64decode(value, validate=True) if isinstance(value, str) else bytes(value)
    except (ValueError, TypeError):
        return None
    return int.from_bytes(raw, "big", signed=True)
