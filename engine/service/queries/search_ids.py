"""Search for tasks, plans and invalidations by the beginning or the end of their ids."""

from collections.abc import Sequence
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
_STATEMENTS: Final = {
    "task": ("search.tasks", "search.tasks_by_ending"),
    "plan": ("search.plans", "search.plans_by_ending"),
    "invalidation": ("search.invalidations", "search.invalidations_by_ending"),
}
"""By the beginning and by the end of ids."""


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

    @property
    def is_whole(self) -> bool:
        """True for a whole id."""
        return len(self._digits) == _DIGITS

    @property
    def range(self) -> dict[str, UUID]:
        """Return the first and the last id that begin with the part."""
        return {
            "first": UUID(self._digits.ljust(_DIGITS, "0")),
            "last": UUID(self._digits.ljust(_DIGITS, "f")),
        }


async def find_ids(
    conn: Connection, org: OrgContext, visible: Visibility, kind: str, part: PartOfId, limit: int
) -> list[tuple[Match, FoundId]]:
    """Return the visible rows of a kind whose ids begin or end with a part, up to the limit."""
    params = {"org_id": org.id, "limit": limit} | _hidden(kind, visible)
    by_beginning, by_ending = _STATEMENTS[kind]
    beginning = await fetch(conn, by_beginning, FoundId, **params, **part.range)
    if part.is_whole:
        found = [(Match.EXACT, row) for row in beginning]
    else:
        ending = await fetch(conn, by_ending, FoundId, **params, ending=part.text)
        found = [
            *((Match.PREFIX, row) for row in beginning),
            *((Match.ENDING, row) for row in ending),
        ]
    if kind != "plan":
        return found
    return await _of_visible_plans(conn, org, visible, found)


def _hidden(kind: str, visible: Visibility) -> dict[str, Any]:
    if kind == "plan":
        return {}
    hidden = visible.hidden_jobs if kind == "task" else visible.hidden_datasets
    return {"hidden": hidden}


async def _of_visible_plans(
    conn: Connection,
    org: OrgContext,
    visible: Visibility,
    found: Sequence[tuple[Match, FoundId]],
) -> list[tuple[Match, FoundId]]:
    rows = [row for _, row in found]
    kept = {row.id for row in await visible_plans(conn, org, visible, rows, attrgetter("id"))}
    return [(match, row) for match, row in found if row.id in kept]
