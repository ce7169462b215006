"""The condition of a subset: which rows of some fields a part of a dataset has.

Source: the facet `subset` (1-0-0) of outputs.
"""

from collections.abc import Mapping
from typing import Any
from urllib.parse import unquote

from consumers.formats import hive
from engine.model.event import MAX_LISTED

Row = Mapping[str, Any]

_MOST_PAIRS = 1_000


def rows_of(condition: Any, fields: frozenset[str]) -> list[Row]:
    """What a condition says of some fields: one of these; what is not there it leaves open.

    It may allow more than the condition does, and never less.
    """
    match condition:
        case {"type": "partition", "partitions": [_, *_] as partitions}:
            return [_of(fields, _dimensions(each)) for each in partitions]
        case {"type": "location", "locations": [_, *_] as locations}:
            return [_of(fields, row) for each in locations for row in _directories(each)]
        case {"type": "compare", "comparison": "EQUAL", "left": left, "right": right}:
            return [_of(fields, _equal(left, right) or _equal(right, left))]
        case {"type": "binary", "operator": "OR", "left": left, "right": right}:
            either = rows_of(left, fields) + rows_of(right, fields)
            return either if len(either) <= MAX_LISTED else [{}]
        case {"type": "binary", "operator": "AND", "left": left, "right": right}:
            return _both(rows_of(left, fields), rows_of(right, fields))
    return [{}]


def _of(fields: frozenset[str], row: Row) -> Row:
    """The fields asked for; a null, in whichever notation, leaves its field open."""
    return {
        name: value
        for name, value in row.items()
        if name in fields and value is not None and value != hive.NULL
    }


def _dimensions(partition: Any) -> Row:
    dimensions = partition.get("dimensions") if isinstance(partition, dict) else None
    return dimensions if isinstance(dimensions, dict) else {}


def _directories(location: Any) -> list[Row]:
    """The fields that the directories of a location hold: `…/dt=2026-01-02/region=us/…`.

    A location may be a path or a URI, in which the path is percent-encoded once more. Where that
    makes a difference it is read both ways.
    """
    if not isinstance(location, str):
        return [{}]
    path, uri = _hive(location), _hive(unquote(location))
    if uri and not path:  # the `=` of every directory is escaped, so this is a URI
        return [uri]
    return [path] if path == uri else [path, uri]


def _hive(path: str) -> Row:
    pairs = (part.partition("=") for part in path.split("/"))
    said = {hive.unescape(name): hive.unescape(value) for name, equals, value in pairs if equals}
    return {name: value for name, value in said.items() if name is not None}


def _equal(left: Any, right: Any) -> Row:
    match left, right:
        case {"type": "field", "field": str(name)}, {"type": "literal", "value": value}:
            return {name: value}
    return {}


def _both(left: list[Row], right: list[Row]) -> list[Row]:
    """Where both name a field, either may be right; where there are too many, one side will do."""
    if len(left) * len(right) > _MOST_PAIRS:
        return min(left, right, key=len)
    return [{**a, **b} for a in left for b in right]
