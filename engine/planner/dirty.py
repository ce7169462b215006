"""Dirty scopes of a dataset, coalesced to stay small on the way down."""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce
from operator import or_

import msgspec

from engine.lineage.columns import DirtyColumns, union_columns
from engine.lineage.rows import RowFilter
from engine.partitions import PartitionSet
from engine.planner.provenance import InvalidationSet

MOST = 16
"""Limit on the dirty scopes of a dataset, beyond which columns and rows are widened into one."""


class DirtyScope(msgspec.Struct, frozen=True, gc=False):
    """Dirty partitions, columns and rows of a dataset, with the invalidations behind them.

    ``rows`` None: any row. ``in_place``: already changed, as sources are; otherwise the dataset
    changes only if its job produces a different result. ``has_grown``: rows were added past any
    cursor, and nothing else changed. ``only_if_stale``: partitions run only if stale by then,
    because the run behind the change has assigned the content version, or because time has passed.
    ``unknown`` are further partitions in the scope that no event has named, from which outputs may
    have been built nevertheless; None if there are none.
    """

    partitions: PartitionSet
    columns: DirtyColumns
    rows: RowFilter | None
    invalidations: InvalidationSet
    in_place: bool
    has_grown: bool = False
    only_if_stale: bool = False
    unknown: PartitionSet | None = None

    def passed_on(
        self, partitions: PartitionSet, columns: DirtyColumns, rows: RowFilter | None
    ) -> DirtyScope:
        """Return the scope for a job's changed output, mostly the same object.

        Most of a wave concerns the same partitions. A shared scope costs less to make, keep and
        compare than 50,000 equal copies.
        """
        is_the_same = (
            self.partitions is partitions
            and self.columns == columns
            and self.rows is rows
            and not (self.in_place or self.has_grown or self.only_if_stale or self.unknown)
        )
        if is_the_same:
            return self
        return DirtyScope(partitions, columns, rows, self.invalidations, in_place=False)


def coalesce(scopes: Sequence[DirtyScope]) -> Sequence[DirtyScope]:
    """Join scopes with the same dirty columns and rows; beyond `MOST` kinds, widen."""
    for scope in scopes:
        if scope is not scopes[0] and scope != scopes[0]:
            return _by_kind(scopes)
    return scopes[:1]


def _by_kind(scopes: Sequence[DirtyScope]) -> Sequence[DirtyScope]:
    kinds: dict[object, list[DirtyScope]] = {}
    for scope in scopes:
        kind = scope.in_place, scope.only_if_stale, scope.has_grown, scope.columns, scope.rows
        kinds.setdefault(kind, []).append(scope)
    if len(kinds) > MOST:
        kinds = {
            kind: [scope for scope in scopes if scope.in_place is kind] for kind in (True, False)
        }
    return [_joined(alike) for alike in kinds.values() if alike]


def _joined(alike: Sequence[DirtyScope]) -> DirtyScope:
    first = alike[0]
    one_filter = all(scope.rows == first.rows for scope in alike)
    return DirtyScope(
        PartitionSet.union([scope.partitions for scope in alike]),
        reduce(union_columns, (scope.columns for scope in alike)),
        first.rows if one_filter else None,
        reduce(or_, (scope.invalidations for scope in alike)),
        first.in_place,
        one_filter and all(scope.has_grown for scope in alike),
        all(scope.only_if_stale for scope in alike),
        _union([scope.unknown for scope in alike if scope.unknown is not None]),
    )


def _union(sets: Sequence[PartitionSet]) -> PartitionSet | None:
    return PartitionSet.union(sets) if sets else None
