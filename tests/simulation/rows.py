"""Rows, and the selection of rows by a row filter."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tests.simulation.dimensions import Dimension, Key, Space
from tests.simulation.world import GROUP, Values

Rows = dict[int, dict[str, Any]]
"""Content of a partition: column values by row id."""
Partitions = Mapping[Key, Rows]
Spec = Mapping[str, Any]
"""A row filter of one of the few generated kinds."""

ID = "id"


def may_hold(space: Space, key: Key, spec: Spec) -> bool:
    """Return whether a partition may contain rows matching a filter."""
    return all(
        _may_be(d, part, spec[d.name]) for d, part in zip(space, key, strict=True) if d.name in spec
    )


def _may_be(d: Dimension, part: str, condition: Any) -> bool:
    if d.kind != "range":
        return part in (_listed_values(condition) or [condition["gte"]])
    lo, hi = d.span(d.grid.index(part))
    return any(lo <= value < hi for value in _listed_values(condition) or [condition["gte"]])


def _listed_values(condition: Any) -> list[Any]:
    """Return the listed values of a filter; empty for a range."""
    if not isinstance(condition, dict):
        return [condition]
    return list(condition.get("in", ()))


def groups(spec: Spec | None) -> Values:
    """Return the groups selected by a filter; None: all."""
    if spec is None or GROUP not in spec:
        return None
    return frozenset(_listed_values(spec[GROUP]))


def is_selected(spec: Spec, row_id: int, row: Mapping[str, Any]) -> bool:
    """Return whether a row of a possibly matching partition meets a filter."""
    selected = groups(spec)
    if selected is not None and row.get(GROUP) not in selected:
        return False
    return ID not in spec or _is_id(spec[ID], row_id)


def _is_id(condition: Any, row_id: int) -> bool:
    if isinstance(condition, dict):
        return bool(condition["gte"] <= row_id <= condition["lte"])
    return bool(condition == row_id)


def differing(before: Rows | None, after: Rows) -> frozenset[str] | None:
    """Return the columns with different contents; None: all, because rows were added or removed."""
    if before is None or before.keys() != after.keys():
        return None
    return frozenset(
        column
        for n, row in after.items()
        for column in row.keys() | before[n].keys()
        if row.get(column) != before[n].get(column)
    )


def groups_differing(before: Rows | None, after: Rows) -> Values:
    """Return the groups of changed rows; None if rows have no group, or all rows are new."""
    if before is None:
        return None
    rows = [
        row
        for n in before.keys() | after.keys()
        if before.get(n) != after.get(n)
        for row in (before.get(n), after.get(n))
        if row is not None
    ]
    return frozenset(row[GROUP] for row in rows) if all(GROUP in row for row in rows) else None
