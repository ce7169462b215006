"""Ways to break derived lineage, the sql operator and claims: worlds of tables have to notice.

Mutations of the processes of a parallel trial are Python that runs ahead of each process.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

import engine.flow.deployment.sql_code
import engine.lineage.derive
import engine.worker.operators.sql.write
from engine.lineage.columns import EVERY
from engine.lineage.sql import Derived

Patch = pytest.MonkeyPatch


def derived_lineage_drops_a_column(patch: Patch) -> None:
    """Each output column loses the last of the input columns that it derives from."""

    def dropped(found: Derived) -> Derived:
        if found.lineage is None:
            return found
        lineage = {to: frozenset(sorted(reads)[:-1]) for to, reads in found.lineage.items()}
        return replace(found, lineage=lineage)

    _around_derive(patch, dropped)


def derived_lineage_forgets_filters(patch: Patch) -> None:
    """Filters, joins and groupings count as reading nothing."""

    def forgetful(found: Derived) -> Derived:
        if found.lineage is None:
            return found
        return replace(found, lineage={**found.lineage, EVERY: frozenset()})

    _around_derive(patch, forgetful)


def derived_lineage_is_unknown(patch: Patch) -> None:
    """Every SELECT counts as reading everything."""
    _around_derive(patch, lambda found: replace(found, lineage=None))


def row_filters_stop_at_every_select(patch: Patch) -> None:
    """No column counts as preserved."""
    patch.setattr(engine.lineage.derive, "preserved_columns", lambda *_: {})


def a_run_reports_no_changed_column(patch: Patch) -> None:
    """A run with some unchanged columns reports none as changed."""
    found = engine.worker.operators.sql.write.changed_columns

    def none_changed(*given: Any) -> frozenset[str] | None:
        return None if found(*given) is None else frozenset()

    patch.setattr(engine.worker.operators.sql.write, "changed_columns", none_changed)


def code_outside_the_file_is_not_hashed(patch: Patch) -> None:
    """A function or view that is redefined rebuilds nothing."""

    async def nothing(*_: Any) -> dict[str, str]:
        return {}

    patch.setattr(engine.flow.deployment.sql_code, "used_code", nothing)


def _around_derive(patch: Patch, change: Callable[[Derived], Derived]) -> None:
    derive = engine.lineage.derive.derive
    patch.setattr(engine.lineage.derive, "derive", lambda *given: change(derive(*given)))


MUTATIONS = {
    mutate.__name__: mutate
    for mutate in (
        derived_lineage_drops_a_column,
        derived_lineage_forgets_filters,
        derived_lineage_is_unknown,
        row_filters_stop_at_every_select,
        a_run_reports_no_changed_column,
        code_outside_the_file_is_not_hashed,
    )
}

TWO_WORKERS_CLAIM_ONE_TASK = """
from engine.store import queries
for name, old in (("tasks.candidates", "FOR UPDATE OF t SKIP LOCKED"),
                  ("tasks.lease", "AND t.status = 'queued'")):
    text = queries.query(name)
    assert old in text, name
    queries._queries()[name] = text.replace(old, "")
"""
"""A claim locks no task, and takes a task that another worker has taken meanwhile."""
