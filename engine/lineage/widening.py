"""Widened lineage: columns and rows of outputs that changes of inputs reach only by a correction.

Changes before the correction were attributed to fewer columns and rows of the outputs, and of the
datasets further downstream.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from uuid import UUID

import msgspec

from engine.lineage.columns import (
    ALL_COLUMNS,
    PRUNED,
    ColumnMap,
    DirtyColumns,
    Pruning,
    propagate_columns,
    union_columns,
)
from engine.lineage.graph import Edge, Lineage
from engine.model.job import Job

_NO_COLUMNS: DirtyColumns = frozenset()


class Widening(msgspec.Struct, frozen=True):
    """Columns of a dataset that further changes reach; with ``rows``, in further rows."""

    columns: DirtyColumns = _NO_COLUMNS
    rows: bool = False

    def __bool__(self) -> bool:
        return self.rows or bool(self.columns)

    def __or__(self, other: Widening) -> Widening:
        return Widening(union_columns(self.columns, other.columns), self.rows or other.rows)


def widened_datasets(
    before: Lineage, now: Lineage, jobs: Iterable[tuple[Job, Job]]
) -> Mapping[UUID, Widening]:
    """Return the widening of the datasets whose earlier changes reach more than they did.

    ``jobs`` are the corrected jobs by the two lineages. Their dependents are included, because
    their earlier runs have passed changes on in too few columns and rows.
    """
    widened: dict[UUID, Widening] = {}
    for earlier, job in jobs:
        edges = {edge.input.alias: edge for edge in before.inputs(earlier.id)}
        for edge in now.inputs(job.id):
            if edge.input.alias in edges:
                _add(widened, job, _corrected(edges[edge.input.alias], edge))
    if widened:
        for job in now.order:
            for edge in now.inputs(job.id):
                if edge.dataset in widened:
                    _add(widened, job, _passed_on(widened[edge.dataset], edge))
    return widened


def _add(widened: dict[UUID, Widening], job: Job, widenings: Iterable[Widening]) -> None:
    """Add the widening of each output of a job; runs of a single-run job change all rows."""
    for output, found in zip(job.outputs, widenings, strict=True):
        widening = Widening(found.columns, found.rows and not job.is_single_run)
        if widening:
            widened[output] = widened.get(output, Widening()) | widening


def _corrected(before: Edge, now: Edge) -> list[Widening]:
    """Return the widening of each output by one input with corrected lineage."""
    rows = before.input.preserved_columns != now.input.preserved_columns
    pairs = zip(before.columns, now.columns, strict=True)
    return [Widening(_added_columns(*pair), rows) for pair in pairs]


def _passed_on(widening: Widening, edge: Edge) -> list[Widening]:
    """Return the widening of each output of a reader."""
    passed = []
    for mapped in edge.columns:
        reached: DirtyColumns | Pruning = PRUNED
        if widening.columns:
            reached = propagate_columns(mapped, widening.columns)
        columns = _NO_COLUMNS if reached is PRUNED else reached
        passed.append(Widening(columns, widening.rows and bool(edge.input.preserved_columns)))
    return passed


def _added_columns(before: ColumnMap | None, now: ColumnMap | None) -> DirtyColumns:
    """Return the output columns affected by an input column that did not affect them before."""
    if before is None:
        return _NO_COLUMNS
    if now is None:
        return ALL_COLUMNS
    added: set[str] = set()
    for column, outputs in now.items():
        affected = propagate_columns(before, frozenset({column}))
        if affected is ALL_COLUMNS:
            continue
        if outputs is ALL_COLUMNS:
            return ALL_COLUMNS
        added.update(outputs if affected is PRUNED else set(outputs) - affected)
    return frozenset(added)
