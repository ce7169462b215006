"""Ids in full, or by the last digits as printed by the command line."""

from collections.abc import Sequence
from operator import attrgetter
from uuid import UUID

from engine.errors import InvalidInput, UnknownName
from engine.flow.shared.org_context import OrgContext
from engine.service.streams import visible_streams
from engine.service.visibility import EVERYTHING, Visibility, visible_plans
from engine.store.database import Connection
from engine.store.rows.views import MatchingId
from engine.store.run import fetch


async def task_id(
    conn: Connection, org: OrgContext, text: str, visible: Visibility = EVERYTHING
) -> UUID:
    """Return the id of the task named by ``text``. Raises InvalidInput, UnknownName."""
    ending = _ending(text, "task")
    rows = await fetch(
        conn, "views.task_ids", MatchingId, org_id=org.id, ending=ending, hidden=visible.hidden_jobs
    )
    return _only(rows, text, "task")


async def plan_id(
    conn: Connection, org: OrgContext, text: str, visible: Visibility = EVERYTHING
) -> UUID:
    """Return the id of the plan named by ``text``. Raises InvalidInput, UnknownName."""
    ending = _ending(text, "plan")
    rows = await fetch(conn, "views.plan_ids", MatchingId, org_id=org.id, ending=ending)
    rows = await visible_plans(conn, org, visible, rows, attrgetter("id"))
    return _only(rows, text, "plan")


async def invalidation_id(
    conn: Connection, org: OrgContext, text: str, visible: Visibility = EVERYTHING
) -> UUID:
    """Return the id of the invalidation named by ``text``. Raises InvalidInput, UnknownName."""
    ending = _ending(text, "invalidation")
    rows = await fetch(
        conn,
        "views.invalidation_ids",
        MatchingId,
        org_id=org.id,
        ending=ending,
        hidden=visible.hidden_datasets,
    )
    return _only(rows, text, "invalidation")


async def dead_letter_id(
    conn: Connection, org: OrgContext, text: str, visible: Visibility = EVERYTHING
) -> UUID:
    """Return the id of the dead letter named by ``text``. Raises InvalidInput, UnknownName."""
    ending = _ending(text, "dead letter")
    rows = await fetch(
        conn,
        "views.dead_letter_ids",
        MatchingId,
        org_id=org.id,
        ending=ending,
        streams=await visible_streams(conn, org, visible),
    )
    return _only(rows, text, "dead letter")


def _ending(text: str, noun: str) -> str:
    """Return the ending of an id as stored. Raises InvalidInput."""
    if not text or set(text.lower()) - set("0123456789abcdef-"):
        article = "an" if noun[0] in "aeiou" else "a"
        raise InvalidInput(
            f"{text!r} is not the id of {article} {noun}: give an id, or the end of an id"
        )
    return text.lower()


def _only(rows: Sequence[MatchingId], text: str, noun: str) -> UUID:
    """Return the only matching id. Raises InvalidInput, UnknownName."""
    if not rows:
        command = f"knockon {noun.replace(' ', '-')}s"
        raise UnknownName(f"there is no {noun} {text} in this org: list them with '{command}'")
    if len(rows) > 1:
        raise InvalidInput(f"several {noun}s have ids ending with {text}: give more characters")
    return rows[0].id
