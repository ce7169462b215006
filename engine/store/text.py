"""Text as PostgreSQL stores it: valid UTF-8 without NUL.

Texts from outside (errors, keys, worker ids, outputs) may contain a NUL character or half of a
surrogate pair. Both are replaced here, when parameters are bound, so that no caller has to.
"""

import re
from collections.abc import Mapping
from typing import Any

import msgspec

from engine.model.text import storable

# A NUL escaped by JSON: \u0000, unless the backslash is itself escaped.
_ESCAPED_NUL = re.compile(rb"(?<!\\)((?:\\\\)*)\\u0000")
_REPLACEMENT = storable("\0").encode()


def storable_value(value: Any) -> Any:
    """Return the value with all contained texts made storable; other values stay unchanged."""
    if isinstance(value, str):
        return storable(value)
    if isinstance(value, Mapping):
        return {storable_value(key): storable_value(item) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return type(value)(storable_value(item) for item in value)
    return value


def encode_json(value: Any) -> bytes:
    """Encode a value as JSON that `jsonb` accepts."""
    try:
        encoded = msgspec.json.encode(value)
    except UnicodeEncodeError:
        encoded = msgspec.json.encode(storable_value(msgspec.to_builtins(value)))
    if b"\\u0000" in encoded:
        return _ESCAPED_NUL.sub(rb"\1" + _REPLACEMENT, encoded)
    return encoded
