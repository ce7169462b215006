"""Webhooks, which are sent the events of an org."""

from base64 import b64encode
from collections.abc import Sequence
from secrets import token_bytes
from typing import Final

import msgspec

from engine.errors import InvalidInput, UnknownName
from engine.model.states import EventKind, Role
from engine.model.webhooks import SECRET_PREFIX
from engine.outgoing import check_url
from engine.service.access_changes import record_change
from engine.service.caller import Caller, requires
from engine.service.service import Service
from engine.store.ids import new_id
from engine.store.rows.webhooks import RemovedWebhook
from engine.store.run import execute, fetch_one

AWAITED_KINDS: Final = (
    EventKind.TASK_FAILED,
    EventKind.PLAN_PENDING_APPROVAL,
    EventKind.INVALIDATION_SET_ASIDE,
    EventKind.DEAD_LETTER_RECORDED,
    EventKind.PARTITION_LOST,
)
"""The events after which work waits for a person."""
_LONGEST_NAME = 100
_SECRET_BYTES = 32


class AddedWebhook(msgspec.Struct, frozen=True):
    """A new webhook; ``secret`` verifies the deliveries, and is not shown again."""

    name: str
    secret: str


@requires(Role.ADMIN)
async def add_webhook(
    caller: Caller,
    service: Service,
    name: str,
    url: str,
    kinds: Sequence[EventKind] = AWAITED_KINDS,
) -> AddedWebhook:
    """Have events of some kinds sent to a URL from now on. Raises InvalidInput."""
    if not name or len(name) > _LONGEST_NAME or not name.isprintable():
        raise InvalidInput(f"the name of a webhook has 1 to {_LONGEST_NAME} printable characters")
    if not kinds:
        raise InvalidInput("give a webhook at least one kind of event")
    check_url(url, service.webhook_networks)
    secret = SECRET_PREFIX + b64encode(token_bytes(_SECRET_BYTES)).decode()
    row = {"name": name, "url": url, "kinds": sorted(set(kinds))}
    async with service.transaction(caller) as (conn, org):
        if not await execute(
            conn,
            "webhooks.insert",
            id=new_id(),
            org_id=org.id,
            secret=secret,
            created_by=caller.user,
            **row,
        ):
            raise InvalidInput(f"there is a webhook {name!r}: remove it, or choose another name")
        await record_change(conn, caller, "webhook.added", name, after=row)
    return AddedWebhook(name, secret)


@requires(Role.ADMIN)
async def remove_webhook(caller: Caller, service: Service, name: str) -> None:
    """Remove a webhook; events not delivered yet are not sent. Raises UnknownName."""
    async with service.transaction(caller) as (conn, org):
        row = await fetch_one(conn, "webhooks.delete", RemovedWebhook, org_id=org.id, name=name)
        if row is None:
            raise UnknownName(f"there is no webhook {name!r}: 'knockon webhooks' lists them")
        await record_change(conn, caller, "webhook.removed", name, before={"url": row.url})
