"""Mutations of how followers read rows, to be detected by worlds of growing tables."""

from __future__ import annotations

from typing import Any

import pytest
from psycopg import sql

import engine.planner.strategy
import engine.worker.operators.sql.follow
from engine.lineage.rows import RowFilter

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


MUTATIONS = {
    mutate.__name__: mutate
    for mutate in (
        a_filter_selects_no_row,
        every_change_only_adds_rows,
    )
}
