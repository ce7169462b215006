"""The condition of a subset: the field values of the part of a dataset that was written.

Source: the facet `subset` (1-0-0) of outputs.
"""

from collections.abc import Mapping
from typing import Any
from urllib.parse import unquote

from consumers.formats import hive
from engine.model.event import MAX_LISTED

Row = Mapping[str, Any]

_MAX_PAIRS = 1_000


def rows_of(condition: Any, fields: frozenset[str]) -> list[Row]:
    """The alternatives that a condition allows for some fields; missing fields are unrestricted.

    The result may allow more than the condition, never less.
    """
    match condition:
        case {"type": "partition", "partitions": [_, *_] as partitions}:
            return [_restrict(_dimensions(partition), fields) for partition in partitions]
        case {"type": "location", "locations": [_, *_] as locations}:
            return [
                _restrict(row, fields) for location in locations for row in _directories(location)
            ]
        case {"type": "compare", "comparison": "EQUAL", "left": left, "right": right}:
            return [_restrict(_equal(left, right) or _equal(right, left), fields)]
        case {"type": "binary", "operator": "OR", "left": left, "right": right}:
            either = rows_of(left, fields) + rows_of(right, fields)
            return either if len(either) <= MAX_LISTED else [{}]
        case {"type": "binary", "operator": "AND", "left": left, "right": right}:
            return _both(rows_of(left, fields), rows_of(right, fields))
    return [{}]


def _restrict(row: Row, fields: frozenset[str]) -> Row:
    """Select some fields of a row; a field that is null in any notation is left out."""
    return {
        name: value
        for name, value in row.items()
        if name in fields and value is not None and value != hive.NULL
    }


def _dimensions(partition: Any) -> Row:
    dimensions = partition.get("dimensions") if isinstance(partition, dict) else None
    return dimensions if isinstance(dimensions, dict) else {}


def _directories(location: Any) -> list[Row]:
    """The fields in the directory names of a location: `…/dt=2026-01-02/region=us/…`.

    A location may be a path, or a URI with an additional percent-encoding. If the two readings
    differ, both are returned.
    """
    if not isinstance(location, str):
        return [{}]
    path, uri = _hive(location), _hive(unquote(location))
    if uri and not path:  # every `=` is percent-encoded, so this is a URI
        return [uri]
    return [path] if path == uri else [path, uri]


def _hive(path: str) -> Row:
    pairs = (part.partition("=") for part in path.split("/"))
    values = {hive.unescape(name): hive.unescape(value) for name, equals, value in pairs if equals}
    return {name: value for name, value in values.items() if name is not None}


def _equal(left: Any, right: Any) -> Row:
    match left, right:
        case {"type": "field", "field": str(name)}, {"type": "literal", "value": value}:
            return {name: value}
    return {}


def _both(left: list[Row], right: list[Row]) -> list[Row]:
    """The conjunction of two lists of alternatives; just one list if there are too many pairs.

    For a field in both sides either value is a correct, if wider, result.
    """
    if len(left) * len(right) > _MAX_PAIRS:
        return min(left, right, key=len)
    return [{**a, **b} for a in left for b in right]
