"""Record the partition contents written by runs, compared with the previous contents."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID

import msgspec
from psycopg.types.json import Jsonb

from engine.flow.execution.outputs import Report
from engine.flow.execution.row_changes import bound_row_changes
from engine.flow.shared.org_context import OrgContext
from engine.lineage.columns import PRUNED, DirtyColumns, Pruning
from engine.lineage.content import Content
from engine.lineage.content_comparison import Outcome, compare, compare_unplanned
from engine.lineage.graph import Lineage
from engine.planner import ALL_SCOPES, Propagated
from engine.store.database import Connection
from engine.store.rows.partitions import LockedContent
from engine.store.run import execute, fetch


class PartitionChange(msgspec.Struct, frozen=True):
    """A partition changed by a run, with the changed columns.

    ``unpropagated`` are the changed columns not propagated to readers by any plan (PRUNED: none).
    ``has_grown``: rows were added, and nothing else changed.
    """

    report: Report
    columns: DirtyColumns
    unpropagated: DirtyColumns | Pruning
    has_grown: bool


class LateChange(msgspec.Struct, frozen=True):
    """Columns changed by an earlier run, and compared only now; perhaps no plan reached readers."""

    report: Report
    columns: DirtyColumns


async def write_contents(
    conn: Connection,
    org: OrgContext,
    lineage: Lineage,
    reports: Sequence[Report],
    propagated: Mapping[UUID, Propagated],
) -> tuple[list[PartitionChange], list[LateChange]]:
    """Record the partitions reported by runs; return those with changed content.

    ``propagated`` maps tasks to the scopes propagated for them (see `planner.propagated`).
    """
    rows = await fetch(
        conn,
        "partitions.lock_contents",
        LockedContent,
        datasets=[report.dataset_uuid for report in reports],
        versions=[report.dataset_version for report in reports],
        keys=[report.partition_key for report in reports],
    )
    outcomes = [
        _outcome(row, report, propagated[report.task_id])
        for row, report in zip(rows, reports, strict=True)
    ]
    contents = [_row(report, outcome) for report, outcome in zip(reports, outcomes, strict=True)]
    await execute(conn, "partitions.write", org_id=org.id, rows=Jsonb(contents))
    for report, outcome in zip(reports, outcomes, strict=True):
        if outcome.content.oldest_row_changes:
            where = report.dataset_uuid, report.dataset_version
            await bound_row_changes(conn, lineage, *where, [report.partition_key])
    changed = [
        PartitionChange(report, outcome.columns, outcome.unpropagated, _has_grown(row, report))
        for row, report, outcome in zip(rows, reports, outcomes, strict=True)
        if outcome.columns is not PRUNED
    ]
    late = [
        LateChange(report, outcome.late)
        for report, outcome in zip(reports, outcomes, strict=True)
        if outcome.late is not PRUNED
    ]
    return changed, late


def _outcome(row: LockedContent, report: Report, propagated: Propagated) -> Outcome:
    is_new = row.changed_at is None
    before = None if is_new else msgspec.convert(row, Content, from_attributes=True)
    written = report.written(before)
    if propagated is ALL_SCOPES:
        return compare(before, written, None, row.now)
    if str(report.dataset_uuid) not in propagated:
        return compare_unplanned(before, written, row.now)
    return compare(before, written, propagated[str(report.dataset_uuid)], row.now)


def _has_grown(row: LockedContent, report: Report) -> bool:
    """Return True if the run has only added rows; not without a fingerprint of the content before.

    An attempt whose result was not recorded may have changed rows as well.
    """
    is_verified = row.changed_at is None or row.fingerprint is not None
    return is_verified and report.output.rows_only_added


def _row(report: Report, outcome: Outcome) -> dict[str, Any]:
    content = {
        field: getattr(outcome.content, field)
        for field in Content.__struct_fields__
        if field not in ("row_changes", "unverified_fingerprint")
    }
    return {
        "dataset_uuid": report.dataset_uuid,
        "dataset_version": report.dataset_version,
        "partition_key": report.partition_key,
        "config_hash": report.config_hash,
        "schema_hash": report.output.schema_hash,
        "location": report.location,
        "bytes": report.output.bytes,
        "task_id": report.task_id,
        "row_changes": outcome.content.row_changes or None,
        **content,
    }
