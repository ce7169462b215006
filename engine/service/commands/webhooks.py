"""Webhooks, which are sent the events of an org."""

from base64 import b64encode
from collections.abc import Sequence
from secrets import token_bytes

import msgspec

from engine.apprise_urls import check_apprise_url
from engine.errors import InvalidInput, UnknownName
from engine.model.states import AWAITED_KINDS, DECIDED_KINDS, EventKind, Receiver, Role
from engine.model.webhooks import SECRET_PREFIX
from engine.outgoing import check_url
from engine.service.access_changes import record_change
from engine.service.caller import Caller, requires
from engine.service.queries.webhooks import shown_url
from engine.service.service import Service
from engine.store.ids import new_id
from engine.store.rows.webhooks import RemovedWebhook
from engine.store.run import execute, fetch_one

_LONGEST_NAME = 100
_SECRET_BYTES = 32


class AddedWebhook(msgspec.Struct, frozen=True):
    """A new webhook; ``secret`` verifies the deliveries, and is not shown again.

    Deliveries to other receivers are not signed.
    """

    name: str
    secret: str | None


@requires(Role.ADMIN)
async def add_webhook(
    caller: Caller,
    service: Service,
    name: str,
    url: str,
    kinds: Sequence[EventKind] = AWAITED_KINDS,
    receiver: Receiver = Receiver.WEBHOOK,
) -> AddedWebhook:
    """Have events of some kinds sent to a URL from now on. Raises InvalidInput."""
    if not name or len(name) > _LONGEST_NAME or not name.isprintable():
        raise InvalidInput(f"the name of a webhook has 1 to {_LONGEST_NAME} printable characters")
    _check_url(url, receiver, service)
    secret = SECRET_PREFIX + b64encode(token_bytes(_SECRET_BYTES)).decode()
    secret = secret if receiver == Receiver.WEBHOOK else ""
    row = {"name": name, "kinds": _sent_kinds(kinds, receiver), "receiver": receiver}
    async with service.transaction(caller) as (conn, org):
        if not await execute(
            conn,
            "webhooks.insert",
            id=new_id(),
            org_id=org.id,
            url=url,
            secret=secret,
            created_by=caller.user,
            **row,
        ):
            raise InvalidInput(f"there is a webhook {name!r}: remove it, or choose another name")
        after = row | {"url": shown_url(url, receiver)}
        await record_change(conn, caller, "webhook.added", name, after=after)
    return AddedWebhook(name, secret or None)


def _check_url(url: str, receiver: Receiver, service: Service) -> None:
    if receiver == Receiver.APPRISE:
        check_apprise_url(url, service.webhook_networks)
    else:
        check_url(url, service.webhook_networks)


def _sent_kinds(kinds: Sequence[EventKind], receiver: Receiver) -> list[EventKind]:
    """Return the kinds of events that a receiver needs. Raises InvalidInput."""
    if not kinds:
        raise InvalidInput("give a webhook at least one kind of event")
    if receiver != Receiver.ALERTMANAGER:
        return sorted(set(kinds))
    if others := set(kinds) - set(AWAITED_KINDS):
        raise InvalidInput(
            f"{', '.join(sorted(others))} is not a cause for an alert: choose from "
            f"{', '.join(AWAITED_KINDS)}"
        )
    return sorted({*kinds, *DECIDED_KINDS})  # the others resolve alerts


@requires(Role.ADMIN)
async def remove_webhook(caller: Caller, service: Service, name: str) -> None:
    """Remove a webhook; events not delivered yet are not sent. Raises UnknownName."""
    async with service.transaction(caller) as (conn, org):
        row = await fetch_one(conn, "webhooks.delete", RemovedWebhook, org_id=org.id, name=name)
        if row is None:
            raise UnknownName(f"there is no webhook {name!r}: 'knockon webhooks' lists them")
        await record_change(
            conn, caller, "webhook.removed", name, before={"url": shown_url(row.url, row.receiver)}
        )
