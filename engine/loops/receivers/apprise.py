"""Chat, mail and paging services, through Apprise."""

from engine.apprise_urls import notify
from engine.loops.receivers.texts import description, summary
from engine.outgoing import Networks
from engine.store.rows.events import FeedEvent
from engine.store.rows.webhooks import DueWebhook


async def send(webhook: DueWebhook, event: FeedEvent, networks: Networks) -> None:
    """Send an event as a text."""
    text = f"{description(event)}\norg: {webhook.org}\nevent: {event.id}"
    await notify(webhook.url, summary(event), text, networks)
