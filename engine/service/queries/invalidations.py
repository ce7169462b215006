"""Invalidations."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec

from engine.flow.shared.org_context import OrgContext
from engine.model.states import InvalidationOutcome, Role, ScopeKind
from engine.service.caller import Caller, requires
from engine.service.keyset import NEWEST
from engine.service.names import dataset_named
from engine.service.service import Service
from engine.service.visibility import Visibility
from engine.store.database import Connection
from engine.store.run import fetch


class InvalidationRow(msgspec.Struct, frozen=True):
    """An invalidation, merged from ``events`` events, with tasks of ``jobs`` jobs.

    An invalidation with a ``planning_error`` is set aside.
    """

    id: UUID
    dataset: str
    scope: ScopeKind
    partition_key: str | None
    columns: list[str] | None
    row_filter: dict[str, Any] | None
    reason: str
    events: int
    created_at: datetime
    processed_at: datetime | None
    outcome: InvalidationOutcome | None
    jobs: int
    plan_id: UUID | None
    source_event: dict[str, Any]
    planning_error: str | None


@requires(Role.READER)
async def invalidations(
    caller: Caller,
    service: Service,
    *,
    dataset: str | None = None,
    only_open: bool = False,
    only_set_aside: bool = False,
    limit: int = 50,
    before: UUID = NEWEST,
) -> list[InvalidationRow]:
    """List invalidations before an id, newest first, optionally of a dataset, open, or set aside.

    Raises UnknownName if there are none, and no current DAG has the dataset.
    """
    async with service.snapshot(caller) as (conn, org):
        visible = await service.visibility(caller, conn, org)
        rows = await fetch(
            conn,
            "invalidations.list",
            InvalidationRow,
            org_id=org.id,
            dataset=dataset,
            open=only_open,
            set_aside=only_set_aside,
            limit=limit,
            before=before,
            hidden=visible.hidden_datasets,
        )
        if dataset is not None and not rows:
            dataset_named(await org.lineage(conn), dataset, visible)
        return rows


async def load_invalidations(
    conn: Connection, org: OrgContext, ids: Sequence[UUID]
) -> list[InvalidationRow]:
    """Load invalidations by id, oldest first."""
    return await fetch(conn, "invalidations.by_ids", InvalidationRow, org_id=org.id, ids=list(ids))


async def visible_invalidations(
    conn: Connection, org: OrgContext, visible: Visibility, ids: Sequence[UUID]
) -> list[UUID]:
    """Return the ids of the invalidations of visible datasets."""
    if visible.is_full:
        return list(ids)
    rows = await load_invalidations(conn, org, ids)
    seen = {row.id for row in rows if row.dataset not in visible.dataset_names}
    return [id_ for id_ in ids if id_ in seen]
