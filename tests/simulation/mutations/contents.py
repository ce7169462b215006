"""Mutations of contents: comparisons, fingerprints, and versions."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import msgspec

import engine.flow.execution.complete
import engine.flow.execution.contents
import engine.flow.execution.outputs
import engine.lineage.content_comparison
from engine.lineage.columns import ALL_COLUMNS, PRUNED
from tests.simulation.mutations.registry import (
    EVIDENCE,
    LOST_WORK,
    Patch,
    around,
    classified,
    mutation,
    statement,
)


@mutation
def an_unchanged_result_counts_as_changed(patch: Patch) -> None:
    _report_as(patch, changed=True)


@mutation
def a_changed_result_counts_as_unchanged(patch: Patch) -> None:
    _report_as(patch, changed=False)


def _report_as(patch: Patch, *, changed: bool) -> None:
    def falsified(reports: Any) -> Any:
        return lambda lineage, done: (
            msgspec.structs.replace(
                report, output=dataclasses.replace(report.output, changed=changed)
            )
            for report in reports(lineage, done)
        )

    around(patch, engine.flow.execution.complete, "reports", falsified)


def _compared(patch: Patch, altered: Callable[[Any, Any, Any], Any]) -> None:
    """Alter the outcome of each comparison: ``altered(before, outcome, now)``."""

    def wrapped(compare: Any) -> Any:
        def compared(before: Any, written: Any, scopes: Any, now: Any) -> Any:
            return altered(before, compare(before, written, scopes, now), now)

        return compared

    around(patch, engine.flow.execution.contents, "compare", wrapped)


def _with_content(outcome: Any, **fields: Any) -> Any:
    content = msgspec.structs.replace(outcome.content, **fields)
    return msgspec.structs.replace(outcome, content=content)


@mutation
def a_content_version_moves_back(patch: Patch) -> None:
    _compared(patch, lambda before, outcome, now: _with_content(outcome, changed_at=now))


@mutation
def an_unchanged_version_is_bumped(patch: Patch) -> None:
    def bumped(before: Any, outcome: Any, now: Any) -> Any:
        at = max(now, outcome.content.changed_at)
        return _with_content(outcome, changed_at=at, column_versions=None)

    _compared(patch, bumped)


@mutation
def all_columns_of_a_changed_partition_count_as_changed(patch: Patch) -> None:
    def widened(before: Any, outcome: Any, now: Any) -> Any:
        if outcome.columns is PRUNED:
            return outcome
        return msgspec.structs.replace(outcome, columns=ALL_COLUMNS)

    _compared(patch, widened)


@mutation
def a_column_that_changed_keeps_its_version(patch: Patch) -> None:
    def kept(before: Any, outcome: Any, now: Any) -> Any:
        if before is None or outcome.content.column_versions is None:
            return outcome
        versions = before.column_versions or {"*": before.changed_at}
        return _with_content(outcome, column_versions=versions)

    _compared(patch, kept)


@classified(EVIDENCE)
def marking_a_partition_keeps_its_fingerprint(patch: Patch) -> None:
    old = """        NULL,
        CASE WHEN p.attributed_fingerprints IS NULL
             THEN p.column_fingerprints - %(columns)s::text[] END,
        CASE WHEN %(columns)s::text[] IS NOT NULL OR %(rows)s::jsonb IS NOT NULL
             THEN p.attributed_fingerprints END,
        NULL::bigint"""
    new = "p.fingerprint, p.column_fingerprints, p.attributed_fingerprints, p.row_count"
    statement(patch, "partitions.mark_changed", old, new)


@classified(LOST_WORK)
def first_outputs_of_narrow_plans_do_not_invalidate_their_readers(patch: Patch) -> None:
    def as_planned(before: Any, outcome: Any, now: Any) -> Any:
        return outcome if before else msgspec.structs.replace(outcome, unpropagated=PRUNED)

    _compared(patch, as_planned)


@classified(EVIDENCE)
def unreported_outputs_count_as_unwritten(patch: Patch) -> None:
    around(
        patch,
        engine.flow.execution.outputs,
        "_outputs",
        lambda _: lambda completion: completion.outputs,
    )


@classified(EVIDENCE)
def incomplete_fingerprints_count_as_complete(patch: Patch) -> None:
    around(
        patch,
        engine.flow.execution.outputs,
        "_complete_fingerprints",
        lambda _: lambda lineage, dataset, fingerprints: fingerprints,
    )
    around(
        patch,
        engine.flow.execution.outputs,
        "_combined_fingerprint",
        lambda _: lambda lineage, dataset, fingerprints: str(fingerprints),
    )


@classified(EVIDENCE)
def a_scope_that_was_never_compared_counts_as_compared_last(patch: Patch) -> None:
    def last(before: Any, scope: Any) -> Any:
        return (before.attributed or {}).get(scope.key, before.fingerprint)

    around(patch, engine.lineage.content_comparison, "_base", lambda _: last)
