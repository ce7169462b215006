"""Invalidations, as they are listed."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from engine.api.tasks import id_ending
from engine.flow.scene import Scene
from engine.store.database import Connection
from engine.store.run import fetch


@dataclass(frozen=True, slots=True)
class InvalidationRow:
    """One durable fact; ``jobs`` have their tasks for it. ``events`` came to it.

    With a ``planning_error`` it is set aside.
    """

    id: UUID
    dataset: str
    scope: str
    partition_key: str | None
    columns: list[str] | None
    row_filter: dict[str, Any] | None
    reason: str
    events: int
    created_at: datetime
    processed_at: datetime | None
    outcome: str | None
    jobs: int
    plan_id: UUID | None
    source_event: dict[str, Any]
    planning_error: str | None


async def invalidations(
    conn: Connection,
    scene: Scene,
    *,
    dataset: str | None = None,
    only_open: bool = False,
    only_set_aside: bool = False,
    limit: int = 50,
) -> list[InvalidationRow]:
    """The newest first, of this dataset, and only those that are not planned yet or set aside."""
    rows = await fetch(
        conn,
        "invalidations.list",
        org_id=scene.org_id,
        dataset=dataset,
        open=only_open,
        set_aside=only_set_aside,
        limit=limit,
    )
    return [InvalidationRow(**row) for row in rows]


async def named_invalidations(
    conn: Connection, scene: Scene, ids: Sequence[UUID]
) -> list[InvalidationRow]:
    """These, the oldest first."""
    rows = await fetch(conn, "invalidations.by_ids", org_id=scene.org_id, ids=list(ids))
    return [InvalidationRow(**row) for row in rows]


async def invalidation_id(conn: Connection, scene: Scene, text: str) -> UUID:
    """The one that a whole id, or the end of one, names. Raises InvalidInput, UnknownName."""
    return await id_ending(conn, scene, text, "invalidation", "views.invalidation_ids")
