"""Webhooks of an org."""

from engine.model.states import Role
from engine.service.caller import Caller, requires
from engine.service.service import Service
from engine.store.rows.webhooks import WebhookRow
from engine.store.run import fetch

__all__ = ["WebhookRow", "webhooks"]


@requires(Role.ADMIN)
async def webhooks(caller: Caller, service: Service) -> list[WebhookRow]:
    """Return the webhooks by name, with the last error of those that fail."""
    async with service.snapshot(caller) as (conn, org):
        return await fetch(conn, "webhooks.list", WebhookRow, org_id=org.id)
