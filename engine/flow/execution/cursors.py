"""Cursors of ``PerUpdate`` jobs, advanced by completed runs and never moved back."""

from collections.abc import Callable
from datetime import datetime
from typing import Any
from uuid import UUID

from engine.errors import InvalidInput
from engine.model.task import Completion
from engine.store.database import Connection
from engine.store.rows.cursors import StoredCursor
from engine.store.run import execute, fetch_one

_READ: dict[str, Callable[[str], Any]] = {
    "integer": int,
    "timestamp": datetime.fromisoformat,
    "text": str,
}


async def move_cursors(conn: Connection, completion: Completion) -> None:
    """Store the cursor of each input read incrementally by a run, if it has advanced."""
    lease = completion.lease
    versions = {dataset.id: dataset.version for dataset in lease.inputs.values()}
    for input_ in lease.job.inputs:
        value = completion.cursors.get(input_.dataset)
        if input_.cursor is None or value is None:
            continue
        where = {
            "dataset": input_.dataset,
            "version": versions[input_.dataset],
            "task": lease.task_id,
        }
        if await _is_forward(conn, input_.cursor["type"], value, where):
            await execute(
                conn, "cursors.write", column=input_.cursor["column"], value=value, **where
            )


async def _is_forward(conn: Connection, kind: str, value: str, where: dict[str, UUID]) -> bool:
    stored = await fetch_one(conn, "cursors.lock", StoredCursor, **where)
    return stored is None or later(kind, value, stored.cursor_value)


def later(kind: str, one: str, other: str) -> bool:
    """Return True if cursor value ``one`` is after ``other`` in the order of their type.

    Raises InvalidInput if the values cannot be compared as this type.
    """
    try:
        return bool(_READ[kind](one) > _READ[kind](other))
    except (ValueError, TypeError):
        raise InvalidInput(
            f"cursor values {one!r} and {other!r} cannot be compared as {kind}: "
            "report the value in the type declared by the DAG file"
        ) from None
