"""Alertmanager: an alert for each cause that waits for a person, resolved when the cause ends.

An alert is identified by its labels, so that a repeated delivery changes nothing. Alertmanager
resolves an alert without an end after minutes, and events are sent once: therefore each alert has
an end, which the event that ends the cause brings forward.
"""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any, Final

import msgspec

from engine.loops.receivers.texts import description, summary
from engine.model.states import EventKind
from engine.model.webhooks import alerts_url
from engine.outgoing import Networks, deliver
from engine.store.rows.events import FeedEvent
from engine.store.rows.webhooks import DueWebhook

_ALERTS: Final = {
    EventKind.TASK_FAILED: "KnockonTaskFailed",
    EventKind.PLAN_PENDING_APPROVAL: "KnockonPlanPendingApproval",
    EventKind.INVALIDATION_SET_ASIDE: "KnockonInvalidationSetAside",
    EventKind.DEAD_LETTER_RECORDED: "KnockonDeadLetter",
    EventKind.PARTITION_LOST: "KnockonPartitionsLost",
}
_ENDS: Final = {
    EventKind.TASK_RETRIED: EventKind.TASK_FAILED,
    EventKind.TASK_CANCELED: EventKind.TASK_FAILED,
    EventKind.PLAN_APPLIED: EventKind.PLAN_PENDING_APPROVAL,
    EventKind.PLAN_REJECTED: EventKind.PLAN_PENDING_APPROVAL,
}
"""The events that end causes, and the events of the causes."""
_LONGEST: Final = timedelta(days=30)
_LONGEST_WITHOUT_END: Final = timedelta(days=1)
"""Length of alerts whose end no event reports."""


async def send(webhook: DueWebhook, event: FeedEvent, networks: Networks) -> None:
    """Send the alert that an event begins or ends, if any."""
    alert = alert_of(event, webhook.org)
    if alert is not None:
        body = msgspec.json.encode([alert])
        await deliver(alerts_url(webhook.url), {}, body, networks)


def alert_of(event: FeedEvent, org: str) -> Mapping[str, Any] | None:
    """Return the alert of an event; None if the event neither begins nor ends one."""
    if event.kind in _ALERTS:
        return {
            "labels": _labels(event, event.kind, org),
            "annotations": {"summary": summary(event), "description": description(event)},
            "startsAt": event.occurred_at,
            "endsAt": _latest_end(event),
        }
    if event.kind not in _ENDS or _is_of_no_decision(event):
        return None
    return {"labels": _labels(event, _ENDS[event.kind], org), "endsAt": event.occurred_at}


def _labels(event: FeedEvent, cause: EventKind, org: str) -> dict[str, str]:
    labels = {
        "alertname": _ALERTS[cause],
        "org": org,
        "id": str(event.subject_id),
        "dag": event.dag_name,
        "job": event.job_name,
    }
    return {name: value for name, value in labels.items() if value}


def _latest_end(event: FeedEvent) -> datetime:
    has_end = event.kind in _ENDS.values()
    return event.occurred_at + (_LONGEST if has_end else _LONGEST_WITHOUT_END)


def _is_of_no_decision(event: FeedEvent) -> bool:
    """Return True for the many plans that were never pending approval."""
    return event.kind == EventKind.PLAN_APPLIED and "decided_by" not in event.detail
