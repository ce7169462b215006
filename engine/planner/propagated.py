"""Scopes of a step's outputs that a plan has propagated to their readers.

A run may change more, because it reads the current content of its inputs. Readers of the rest are
invalidated when the run completes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from enum import Enum
from typing import Any, Final

import msgspec

from engine.lineage.columns import PRUNED, DirtyColumns
from engine.lineage.rows import RowFilter
from engine.lineage.scope import EVERYTHING, Scope
from engine.model.job import Job
from engine.planner.plan import Step, Trigger


class AllScopes(Enum):
    """All columns and rows of every output."""

    ALL_SCOPES = "all scopes"


ALL_SCOPES: Final = AllScopes.ALL_SCOPES

Propagated = Mapping[str, tuple[Scope, ...]] | AllScopes
"""Scopes by output dataset.

The scopes of a dataset without an entry are unknown, so a completion propagates every change.
"""


def parse_propagated(stored: Mapping[str, Any] | None) -> Propagated:
    """Return the scopes stored with a task, null for all."""
    if stored is None:
        return ALL_SCOPES
    return msgspec.convert(stored, dict[str, tuple[Scope, ...]])


def propagated_scopes(step: Step, job: Job) -> Callable[[Sequence[str]], Propagated]:
    """Return a function from a task's partition keys to the propagated scopes.

    A task for several partitions has scopes only if all partitions have the same scopes.
    """
    if not step.is_narrow:
        return lambda _: ALL_SCOPES
    if job.is_single_run or all(trigger.partitions == step.partitions for trigger in step.triggers):
        of_all_keys = _scopes(job, step.triggers)
        return lambda _: of_all_keys
    space = step.partitions.space
    keys_triggered = [frozenset(space.keys(trigger.partitions)) for trigger in step.triggers]

    def of_task(keys: Sequence[str]) -> Propagated:
        sets = {tuple(i for i, its in enumerate(keys_triggered) if key in its) for key in keys}
        if len(sets) > 1:
            return {}
        return _scopes(job, [step.triggers[i] for i in sets.pop()])

    return of_task


def _scopes(job: Job, triggers: Sequence[Trigger]) -> Propagated:
    scopes_by_output = {
        # A single-run output is propagated in all rows.
        str(output): _of_output(
            [
                (trigger.columns[i], None if job.is_single_run else trigger.rows)
                for trigger in triggers
            ]
        )
        for i, output in enumerate(job.outputs)
    }
    is_everything = all(scopes == (EVERYTHING,) for scopes in scopes_by_output.values())
    return ALL_SCOPES if is_everything else scopes_by_output


def _of_output(dirty: Iterable[tuple[Any, RowFilter | None]]) -> tuple[Scope, ...]:
    scopes = {
        scope.key: scope
        for columns, rows in dirty
        if columns is not PRUNED
        for scope in [_scope(columns, rows)]
    }
    return (EVERYTHING,) if EVERYTHING.key in scopes else tuple(scopes.values())


def _scope(columns: DirtyColumns, rows: RowFilter | None) -> Scope:
    return Scope.of(columns, rows.spec() if rows else None)
