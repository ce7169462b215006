"""Delivery of events to the webhooks and other receivers of an org: in order, at least once.

A delivery has the id of its event, by which the receiver recognizes a repetition. A webhook that
fails is repeated with growing pauses, and holds up no other.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Final

import structlog

from engine.errors import KnockonError
from engine.flow.shared.org_context import OrgContext
from engine.loops.receivers import alertmanager, apprise, webhook
from engine.model.states import Receiver
from engine.outgoing import Networks
from engine.store.database import Database
from engine.store.rows.events import FeedEvent
from engine.store.rows.webhooks import DueWebhook
from engine.store.run import execute, fetch

_log = structlog.get_logger(__name__)
_MOST_AT_ONCE = 20
_RESERVED_SECONDS = 300.0
"""Longer than all deliveries of a step take, each at most ten seconds."""
_FIRST_PAUSE_SECONDS, _LONGEST_PAUSE_SECONDS = 5.0, 3_600.0
_MOST_ERROR = 500

_Send = Callable[[DueWebhook, FeedEvent, Networks], Awaitable[None]]
_SENDERS: Final[Mapping[Receiver, _Send]] = {
    Receiver.WEBHOOK: webhook.send,
    Receiver.ALERTMANAGER: alertmanager.send,
    Receiver.APPRISE: apprise.send,
}


class Notifier:
    """Sends the events of an org to its webhooks."""

    def __init__(self, database: Database, org: OrgContext, networks: Networks) -> None:
        self._database = database
        self._org = org
        self._networks = networks

    async def deliver(self) -> bool:
        """Send the next events to each webhook that is due; return True if more may be due."""
        async with self._database.org_connection(self._org.id) as conn:
            due = await fetch(
                conn,
                "webhooks.take_due",
                DueWebhook,
                org_id=self._org.id,
                seconds=_RESERVED_SECONDS,
            )
        delivered = await asyncio.gather(*(self._deliver_to(webhook) for webhook in due))
        return any(delivered)

    async def _deliver_to(self, webhook: DueWebhook) -> bool:
        """Send events in order until one fails; return True if all were delivered."""
        async with self._database.org_connection(self._org.id) as conn:
            events = await fetch(
                conn,
                "events.after",
                FeedEvent,
                org_id=self._org.id,
                after=webhook.position,
                kinds=list(webhook.kinds),
                limit=_MOST_AT_ONCE,
            )
        for event in events:
            error = await self._send(webhook, event)
            if error is not None:
                await self._record_failure(webhook, error)
                return False
            await self._record("webhooks.delivered", id=webhook.id, position=event.position)
        return True

    async def _send(self, webhook: DueWebhook, event: FeedEvent) -> str | None:
        """Send one event; return the error, None if it was accepted."""
        try:
            await _SENDERS[webhook.receiver](webhook, event, self._networks)
        except KnockonError as error:
            return str(error)
        return None

    async def _record_failure(self, webhook: DueWebhook, error: str) -> None:
        pause = min(_FIRST_PAUSE_SECONDS * 2.0**webhook.failures, _LONGEST_PAUSE_SECONDS)
        _log.warning("webhook failed", webhook=webhook.name, why=error, retry_in_seconds=pause)
        error = error[:_MOST_ERROR]
        await self._record("webhooks.failed", id=webhook.id, error=error, seconds=pause)

    async def _record(self, statement: str, **params: object) -> None:
        async with self._database.org_connection(self._org.id) as conn:
            await execute(conn, statement, **params)
