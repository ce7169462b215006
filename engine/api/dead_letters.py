"""Dead letters: deliveries that could not be used, kept to be looked at and replayed."""

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from engine.api.tasks import id_ending
from engine.errors import UnknownName
from engine.flow.scene import Scene
from engine.store.database import Connection
from engine.store.run import Row, fetch, fetch_one


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """One delivery; ``payload`` as text, with what is not UTF-8 escaped.

    ``is_loss``: it stands for messages that cannot be read again.
    """

    id: UUID
    consumer: str
    stream: str
    position: str
    payload: str | None
    headers: dict[str, str]
    error: str
    created_at: datetime
    replayed_at: datetime | None
    is_loss: bool
    closed_at: datetime | None
    closed_by: str | None
    close_reason: str | None


async def dead_letters(
    conn: Connection, scene: Scene, *, with_done: bool = False, limit: int = 50
) -> list[DeadLetter]:
    """The newest first."""
    rows = await fetch(conn, "dead_letters.list", org_id=scene.org_id, all=with_done, limit=limit)
    return [_letter(row) for row in rows]


async def dead_letter(conn: Connection, scene: Scene, letter: UUID) -> DeadLetter:
    """One of them. Raises UnknownName."""
    row = await fetch_one(conn, "views.dead_letter", org_id=scene.org_id, id=letter)
    if row is None:
        raise UnknownName(
            f"there is no dead letter {letter}: list them with 'knockon dead-letters'"
        )
    return _letter(row)


async def dead_letter_id(conn: Connection, scene: Scene, text: str) -> UUID:
    """The one that a whole id, or the end of one, names. Raises InvalidInput, UnknownName."""
    return await id_ending(conn, scene, text, "dead-letter", "views.dead_letter_ids")


async def open_dead_letters(conn: Connection, scene: Scene) -> list[UUID]:
    """All that could be replayed, the oldest first."""
    rows = await fetch(conn, "views.open_dead_letter_ids", org_id=scene.org_id)
    return [row["id"] for row in rows]


def _letter(row: Row) -> DeadLetter:
    payload = row["payload"]
    text = None if payload is None else bytes(payload).decode(errors="backslashreplace")
    return DeadLetter(**{**row, "payload": text})
