"""Placeholders of large values that an update left alone, in the form of every type.

Source: Debezium's PostgreSQL connector and its setting `unavailable.value.placeholder`. A form that
is missing here counts as a changed value.
"""

from base64 import b64decode, b64encode, urlsafe_b64encode
from decimal import Decimal
from hashlib import md5
from typing import Any
from uuid import UUID

import msgspec
from msgspec import Raw

USUAL = "__debezium_unavailable_value"
_OPENS = b"[{"
_LONGEST_NUMBER = 64
"""Bytes of JSON for one element of an array, at most."""


class Placeholders:
    """The forms of one placeholder."""

    def __init__(self, text: str = USUAL) -> None:
        said = text.encode()
        hstore = msgspec.json.encode({text: text}).decode()
        digest = md5(said, usedforsecurity=False).digest()
        self._bytes = said
        self._texts = {text, b64encode(said).decode(), urlsafe_b64encode(said).decode()}
        self._texts |= {said.hex(), hstore}
        self._json = {msgspec.json.encode(each) for each in self._texts}
        self._others = (said, {text: text}, [said], [str(UUID(bytes=digest, version=3))])
        self._longest = 100 + _LONGEST_NUMBER * len(said)

    def __contains__(self, cell: Any) -> bool:
        """Whether a cell, as JSON or decoded, stands for a value that is not there."""
        kind = type(cell)
        if kind is Raw:
            return self._holds_json(bytes(cell))
        if kind is str:
            return cell in self._texts
        if kind is list:
            return self._is_array(cell)
        return kind in (bytes, dict) and cell in self._others

    def _holds_json(self, text: bytes) -> bool:
        if text[0] not in _OPENS or len(text) > self._longest:
            return text in self._json
        return msgspec.json.decode(text) in self

    def _is_array(self, cells: list[Any]) -> bool:
        if len(cells) == 1:
            return cells[0] in self or cells in self._others
        # an array of numbers has one for each byte of the placeholder
        return len(cells) == len(self._bytes) and all(
            _number(cell) == byte for cell, byte in zip(cells, self._bytes, strict=True)
        )


def _number(cell: Any) -> Any:
    """The number that an element of an array holds, without its decimal places."""
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
        found = b64decode(value, validate=True) if isinstance(value, str) else bytes(value)
    except (ValueError, TypeError):
        return None
    return int.from_bytes(found, "big", signed=True)
