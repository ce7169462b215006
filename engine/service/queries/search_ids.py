"""Search for tasks, plans and invalidations by the beginning or the end of their ids."""

from dataclasses import dataclass
from operator import attrgetter
from typing import Any, Final
from uuid import UUID

from engine.flow.shared.org_context import OrgContext
from engine.service.name_index import Match
from engine.service.visibility import Visibility, visible_plans
from engine.store.database import Connection
from engine.store.rows.search import FoundId
from engine.store.run import fetch

SHORTEST_ID: Final = 8
"""Fewest digits of an id, as printed by the command line; fewer would match too much."""
_DIGITS: Final = 32
_HEXADECIMAL: Final = frozenset("0123456789abcdef-")


@dataclass(frozen=True, slots=True)
class PartOfId:
    """An id, its beginning or its end, in lower case."""

    text: str

    @staticmethod
    def of(text: str) -> "PartOfId | None":
        """Return the part of an id in a text, None if it cannot be one."""
        lower = text.strip().lower()
        digits = lower.replace("-", "")
        if not SHORTEST_ID <= len(digits) <= _DIGITS or set(lower) - _HEXADECIMAL:
            return None
        return PartOfId(lower)

    @property
    def _digits(self) -> str:
        return self.text.replace("-", "")

    def parameters(self, org: OrgContext, limit: int) -> dict[str, Any]:
        """Return the ids to search for, as parameters of statements."""
        return {
            "org_id": org.id,
            "first": UUID(self._digits.ljust(_DIGITS, "0")),
            "last": UUID(self._digits.ljust(_DIGITS, "f")),
            "ending": self.text,
            "limit": limit,
        }

    def match(self, id_: UUID) -> Match:
        """Return the part of an id that equals the text."""
        if len(self._digits) == _DIGITS:
            return Match.EXACT
        return Match.PREFIX if id_.hex.startswith(self._digits) else Match.ENDING


async def find_tasks(
    conn: Connection, org: OrgContext, visible: Visibility, part: PartOfId, limit: int
) -> list[FoundId]:
    """Return the visible tasks whose ids begin or end with a part, at least up to the limit."""
    params = part.parameters(org, limit)
    return await fetch(conn, "search.tasks", FoundId, hidden=visible.hidden_jobs, **params)


async def find_invalidations(
    conn: Connection, org: OrgContext, visible: Visibility, part: PartOfId, limit: int
) -> list[FoundId]:
    """Return the visible invalidations whose ids begin or end with a part; see `find_tasks`."""
    params = part.parameters(org, limit)
    return await fetch(
        conn, "search.invalidations", FoundId, hidden=visible.hidden_datasets, **params
    )


async def find_plans(
    conn: Connection, org: OrgContext, visible: Visibility, part: PartOfId, limit: int
) -> list[FoundId]:
    """Return the visible plans whose ids begin or end with a part; see `find_tasks`."""
    rows = await fetch(conn, "search.plans", FoundId, **part.parameters(org, limit))
    return await visible_plans(conn, org, visible, rows, attrgetter("id"))
