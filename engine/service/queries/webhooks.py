"""Webhooks of an org."""

from msgspec.structs import replace

from engine.apprise_urls import masked
from engine.model.states import Receiver, Role
from engine.service.caller import Caller, requires
from engine.service.service import Service
from engine.store.rows.webhooks import WebhookRow
from engine.store.run import fetch

__all__ = ["WebhookRow", "webhooks"]


@requires(Role.ADMIN)
async def webhooks(caller: Caller, service: Service) -> list[WebhookRow]:
    """Return the webhooks by name, with the last error of those that fail."""
    async with service.snapshot(caller) as (conn, org):
        rows = await fetch(conn, "webhooks.list", WebhookRow, org_id=org.id)
    return [replace(row, url=shown_url(row.url, row.receiver)) for row in rows]


def shown_url(url: str, receiver: Receiver) -> str:
    """Return the URL of a webhook without secrets."""
    return masked(url) if receiver == Receiver.APPRISE else url
