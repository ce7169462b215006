"""Mutations of derived lineage, the SQL operator and claims, to be detected by worlds of tables.

Mutations of processes in a parallel trial are Python run ahead of each process.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

import engine.flow.deployment.sql_code
import engine.lineage.definition
import engine.lineage.derive
import engine.worker.operators.sql.write
from engine.lineage.columns import EVERY
from engine.lineage.sql import Derived

Patch = pytest.MonkeyPatch


def derived_lineage_drops_a_column(patch: Patch) -> None:
    """Drop the last input column from the lineage of each output column."""

    def dropped(derived: Derived) -> Derived:
        if derived.lineage is None:
            return derived
        lineage = {to: frozenset(sorted(reads)[:-1]) for to, reads in derived.lineage.items()}
        return replace(derived, lineage=lineage)

    _around_derive(patch, dropped)


def derived_lineage_omits_filters(patch: Patch) -> None:
    """Treat filters, joins and groupings as reading nothing."""

    def forgetful(derived: Derived) -> Derived:
        if derived.lineage is None:
            return derived
        return replace(derived, lineage={**derived.lineage, EVERY: frozenset()})

    _around_derive(patch, forgetful)


def derived_lineage_is_unknown(patch: Patch) -> None:
    """Treat every SELECT as reading everything."""
    _around_derive(patch, lambda derived: replace(derived, lineage=None))


def row_filters_stop_at_every_select(patch: Patch) -> None:
    """Treat no column as preserved."""
    patch.setattr(engine.lineage.derive, "preserved_columns", lambda *_: {})


def a_run_reports_no_changed_column(patch: Patch) -> None:
    """Report no changed columns for a run with some unchanged ones."""
    changed_columns = engine.worker.operators.sql.write.changed_columns

    def none_changed(*params: Any) -> frozenset[str] | None:
        return None if changed_columns(*params) is None else frozenset()

    patch.setattr(engine.worker.operators.sql.write, "changed_columns", none_changed)


def code_outside_the_file_is_not_hashed(patch: Patch) -> None:
    """Skip the rebuild after a function or view is redefined."""

    async def nothing(*_: Any) -> dict[str, str]:
        return {}

    patch.setattr(engine.flow.deployment.sql_code, "used_code", nothing)


def every_difference_of_a_text_counts(patch: Patch) -> None:
    """Compare SELECTs as they are written."""
    patch.setattr(engine.lineage.definition, "canonical", lambda text: text)


def _around_derive(patch: Patch, change: Callable[[Derived], Derived]) -> None:
    derive = engine.lineage.derive.derive
    patch.setattr(engine.lineage.derive, "derive", lambda *params: change(derive(*params)))


MUTATIONS = {
    mutate.__name__: mutate
    for mutate in (
        derived_lineage_drops_a_column,
        derived_lineage_omits_filters,
        derived_lineage_is_unknown,
        row_filters_stop_at_every_select,
        a_run_reports_no_changed_column,
        code_outside_the_file_is_not_hashed,
        every_difference_of_a_text_counts,
    )
}

TWO_WORKERS_CLAIM_ONE_TASK = """
from engine.store import queries
old = "FOR UPDATE OF t SKIP LOCKED"
text = queries.query("tasks.candidates")
assert old in text
queries._queries()["tasks.candidates"] = text.replace(old, "")
"""
"""Claim without locking, so two workers may claim the same task."""
