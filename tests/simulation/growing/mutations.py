"""Mutations of how followers read rows, to be detected by worlds of growing tables."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import msgspec
import pytest
from psycopg import sql

import engine.flow.ingestion.resolve
import engine.flow.planning.decision
import engine.planner.closure
import engine.planner.strategy
import engine.worker.operators.sql.follow
from engine.lineage.graph import Lineage
from engine.lineage.rows import RowFilter
from engine.model.invalidation import Invalidation
from engine.model.states import Reason
from engine.planner.bounds import Extents
from engine.planner.dirty import DirtyScope
from engine.planner.provenance import InvalidationSet

Patch = pytest.MonkeyPatch


def a_filter_selects_no_row(patch: Patch) -> None:
    """Read no row again for a row filter."""
    patch.setattr(engine.worker.operators.sql.follow, "selected", lambda *_: sql.SQL("FALSE"))


def every_change_only_adds_rows(patch: Patch) -> None:
    """Read new rows for every trigger over a cursor without a row filter."""
    new_rows = RowFilter.parse({})

    def read_again(trigger: Any) -> RowFilter:
        return trigger.dirty.rows or new_rows

    patch.setattr(engine.planner.strategy, "_read_again", read_again)


def a_dropped_condition_selects_new_rows(patch: Patch) -> None:
    """Read the new rows only for an arrival whose conditions are dropped."""
    make = engine.planner.closure.dirty_scope

    def dirty_scope(
        lineage: Lineage, extents: Extents, invalidation: Invalidation, members: InvalidationSet
    ) -> DirtyScope:
        scope = make(lineage, extents, invalidation, members)
        has_grown = scope.in_place and invalidation.reason == Reason.ARRIVAL
        return msgspec.structs.replace(scope, has_grown=has_grown)

    patch.setattr(engine.planner.closure, "dirty_scope", dirty_scope)


def an_unknown_column_selects_new_rows(patch: Patch) -> None:
    """The same for conditions on unknown columns only."""
    patch.setattr(engine.flow.ingestion.resolve, "GROWTH", frozenset())


def a_new_partition_selects_new_rows(patch: Patch) -> None:
    """The same for conditions on new partitions only."""

    def widened(invalidation: Invalidation, **changes: Any) -> Invalidation:
        if "row_filter" in changes:
            changes["row_filter"] = changes["row_filter"] or None
        return replace(invalidation, **changes)

    patch.setattr(engine.flow.planning.decision, "replace", widened)


MUTATIONS = {
    mutate.__name__: mutate
    for mutate in (
        a_filter_selects_no_row,
        every_change_only_adds_rows,
        a_dropped_condition_selects_new_rows,
        an_unknown_column_selects_new_rows,
        a_new_partition_selects_new_rows,
    )
}
