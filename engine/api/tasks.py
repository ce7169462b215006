"""Tasks, as they are listed."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from engine.errors import InvalidInput, UnknownName
from engine.flow.scene import Scene
from engine.store.database import Connection
from engine.store.run import fetch


@dataclass(frozen=True, slots=True)
class TaskRow:
    """One task. ``hit``: it must run, whatever the tasks in front of it come to."""

    id: UUID
    dag_name: str
    job: str
    slot: str
    status: str
    partitions: list[str]
    hit: bool
    attempts: int
    worker_id: str | None
    created_at: datetime
    started_at: datetime | None
    completed_at: datetime | None
    next_retry_at: datetime | None
    error_message: str | None
    outcome: str | None
    waiting_for: dict[str, list[str]] | None
    plan_ids: list[UUID]

    @property
    def note(self) -> str:
        """The most telling line about it."""
        if self.waiting_for:
            return "waits for " + "; ".join(
                f"{name} {', '.join(keys)}" for name, keys in self.waiting_for.items()
            )
        return self.error_message or self.outcome or ""


async def tasks(
    conn: Connection,
    scene: Scene,
    *,
    statuses: Sequence[str] | None = None,
    job: str | None = None,
    partition: str | None = None,
    limit: int = 50,
) -> list[TaskRow]:
    """The newest tasks first, of these statuses, this job and this partition key."""
    rows = await fetch(
        conn,
        "tasks.list",
        org_id=scene.org_id,
        statuses=None if statuses is None else list(statuses),
        job=job,
        partition=partition,
        limit=limit,
    )
    return [TaskRow(**row) for row in rows]


async def task_id(conn: Connection, scene: Scene, text: str) -> UUID:
    """The task that a whole id, or the end of one, names. Raises InvalidInput, UnknownName."""
    return await id_ending(conn, scene, text, "task", "views.task_ids")


async def id_ending(conn: Connection, scene: Scene, text: str, noun: str, query: str) -> UUID:
    """The one id that ends so, of what a query lists. Raises InvalidInput, UnknownName."""
    if not text or set(text.lower()) - set("0123456789abcdef-"):
        a = "an" if noun[0] in "aeiou" else "a"
        raise InvalidInput(f"{text!r} is no id of {a} {noun}: give an id, or the end of one")
    params: dict[str, Any] = {"org_id": scene.org_id, "ending": text.lower()}
    rows = await fetch(conn, query, **params)
    if not rows:
        raise UnknownName(
            f"there is no {noun} {text} in this org: list them with 'knockon {noun}s'"
        )
    if len(rows) > 1:
        raise InvalidInput(f"several {noun}s have ids that end with {text}: give more of it")
    return UUID(str(rows[0]["id"]))
