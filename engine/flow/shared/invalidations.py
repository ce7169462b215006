"""Invalidations created by Knockon itself."""

from collections.abc import Collection, Iterable, Sequence
from typing import Any
from uuid import UUID

from psycopg.types.json import Jsonb

from engine.flow.shared.org_context import OrgContext
from engine.lineage.graph import Lineage
from engine.model.invalidation import InvalidationReason
from engine.model.job import Job
from engine.model.states import Reason
from engine.store.database import Connection
from engine.store.ids import new_id
from engine.store.notifications import INVALIDATIONS, notify
from engine.store.run import execute

NewInvalidation = dict[str, Any]


def own_invalidation(
    dataset: UUID,
    version: UUID,
    partitions: Sequence[str | None],
    *,
    reason: InvalidationReason,
    source: str,
    columns: Collection[str] | None = None,
    note: str | None = None,
    after: str | None = None,
    by: str | None = None,
) -> NewInvalidation:
    """Return rows for `invalidations.insert`, one per partition text; None is the whole dataset.

    ``source`` is recorded as the stream of origin. ``after`` is an earlier partition: the rows are
    not planned while its task is unfinished. ``by`` is the user who requested the invalidation.
    """
    event: dict[str, Any] = {"event": {"note": note}} if note else {}
    if by is not None:
        event["by"] = by
    return {
        "dataset_uuid": dataset,
        "dataset_version": version,
        "reason": reason,
        "columns": None if columns is None else sorted(columns),
        "source_event": {"count": 1, "stream": source, **event},
        "events": 1,
        "after_partition": after,
        "ids": [new_id() for _ in partitions],
        "partition_keys": list(partitions),
    }


def definition_change(
    dataset: UUID,
    version: UUID,
    partition: str | None = None,
    *,
    columns: Collection[str] | None = None,
) -> NewInvalidation:
    """Return an invalidation of all or part of a dataset with a changed definition.

    For a source, ``columns`` are the columns added or removed; all, after a change of storage or
    partitioning. The data may be the same, but readers see it differently.
    """
    return own_invalidation(
        dataset,
        version,
        [partition],
        reason=Reason.DEFINITION_CHANGE,
        source="deploy",
        columns=columns,
    )


def definition_changes(lineage: Lineage, job: Job, keys: Iterable[str]) -> list[NewInvalidation]:
    """Return invalidations of partitions of a job; of the whole dataset for a single-run job."""
    dataset, space = lineage.dataset(job.outputs[0]), lineage.job_space(job)
    texts: Sequence[str | None] = [None]
    if not job.is_single_run:
        texts = space.texts(space.from_keys(keys))
    return [definition_change(dataset.id, dataset.version, text) for text in texts]


async def insert_own(
    conn: Connection, org: OrgContext, invalidations: Sequence[NewInvalidation]
) -> None:
    """Write invalidations and notify the planner."""
    if invalidations:
        await execute(
            conn, "invalidations.insert", org_id=org.id, invalidations=Jsonb(list(invalidations))
        )
        await notify(conn, INVALIDATIONS, org.id)
