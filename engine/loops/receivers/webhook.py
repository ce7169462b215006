"""Webhooks: signed requests, as of Standard Webhooks."""

import time

import msgspec

from engine.model.webhooks import signing_headers
from engine.outgoing import Networks, deliver
from engine.store.rows.events import FeedEvent
from engine.store.rows.webhooks import DueWebhook


async def send(webhook: DueWebhook, event: FeedEvent, networks: Networks) -> None:
    """Send an event; the id of the event identifies a repetition."""
    message = {"type": event.kind, "timestamp": event.occurred_at, "data": event}
    body = msgspec.json.encode(message)
    headers = signing_headers(webhook.secret, str(event.id), int(time.time()), body)
    await deliver(webhook.url, headers, body, networks)
