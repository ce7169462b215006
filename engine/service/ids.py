"""Ids in full, or by the last digits as printed by the command line."""

from typing import Any
from uuid import UUID

from engine.errors import InvalidInput, UnknownName
from engine.flow.shared.org_context import OrgContext
from engine.store.database import Connection
from engine.store.run import fetch


async def task_id(conn: Connection, org: OrgContext, text: str) -> UUID:
    """Return the id of the task named by ``text``. Raises InvalidInput, UnknownName."""
    return await _named_id(conn, org, text, "task", "views.task_ids")


async def plan_id(conn: Connection, org: OrgContext, text: str) -> UUID:
    """Return the id of the plan named by ``text``. Raises InvalidInput, UnknownName."""
    return await _named_id(conn, org, text, "plan", "views.plan_ids")


async def invalidation_id(conn: Connection, org: OrgContext, text: str) -> UUID:
    """Return the id of the invalidation named by ``text``. Raises InvalidInput, UnknownName."""
    return await _named_id(conn, org, text, "invalidation", "views.invalidation_ids")


async def dead_letter_id(conn: Connection, org: OrgContext, text: str) -> UUID:
    """Return the id of the dead letter named by ``text``. Raises InvalidInput, UnknownName."""
    return await _named_id(conn, org, text, "dead-letter", "views.dead_letter_ids")


async def _named_id(conn: Connection, org: OrgContext, text: str, noun: str, query: str) -> UUID:
    """Return the only id from a query with the ending ``text``."""
    if not text or set(text.lower()) - set("0123456789abcdef-"):
        article = "an" if noun[0] in "aeiou" else "a"
        raise InvalidInput(
            f"{text!r} is not the id of {article} {noun}: give an id, or the end of an id"
        )
    params: dict[str, Any] = {"org_id": org.id, "ending": text.lower()}
    rows = await fetch(conn, query, **params)
    if not rows:
        raise UnknownName(
            f"there is no {noun} {text} in this org: list them with 'knockon {noun}s'"
        )
    if len(rows) > 1:
        raise InvalidInput(f"several {noun}s have ids ending with {text}: give more characters")
    return UUID(str(rows[0]["id"]))
