"""Mutations of how followers read rows, to be detected by worlds of growing tables."""

from __future__ import annotations

from typing import Any

import pytest
from psycopg import sql

import engine.flow.execution.cutoff
import engine.flow.execution.stale_decisions
import engine.planner.strategy
import engine.worker.operators.sql.follow
from engine.lineage.rows import RowFilter

Patch = pytest.MonkeyPatch


def every_run_of_a_follower_only_adds_rows(patch: Patch) -> None:
    """Let followers of rows that a run has changed read new rows only."""
    patch.setattr(engine.flow.execution.cutoff, "rewritten_outputs", lambda *_: {})


def a_filter_selects_no_row(patch: Patch) -> None:
    """Read no row again for a row filter."""
    patch.setattr(engine.worker.operators.sql.follow, "selected", lambda *_: sql.SQL("FALSE"))


def unread_rows_of_a_canceled_run_are_not_recorded(patch: Patch) -> None:
    """Count a later run on other rows as having read everything."""

    async def nothing(*_: Any) -> None:
        return None

    patch.setattr(engine.flow.execution.stale_decisions, "leave_rows_unread", nothing)


def every_change_only_adds_rows(patch: Patch) -> None:
    """Read new rows for every trigger over a cursor without a row filter."""
    new_rows = RowFilter.parse({})

    def read_again(trigger: Any) -> RowFilter:
        return trigger.dirty.rows or new_rows

    patch.setattr(engine.planner.strategy, "_read_again", read_again)


MUTATIONS = {
    mutate.__name__: mutate
    for mutate in (
        every_run_of_a_follower_only_adds_rows,
        a_filter_selects_no_row,
        unread_rows_of_a_canceled_run_are_not_recorded,
        every_change_only_adds_rows,
    )
}
