"""Webhooks."""

from http import HTTPStatus
from operator import attrgetter
from typing import Annotated

from pydantic import ConfigDict, Field
from starlette.responses import Response

from engine.http.bodies import Body, Name, Text
from engine.http.call import Call
from engine.http.pages import Page, PagingOf
from engine.http.resource import Resource
from engine.model.states import AWAITED_KINDS, EventKind, Receiver
from engine.service.commands.webhooks import add_webhook, remove_webhook
from engine.service.queries.webhooks import WebhookRow
from engine.service.queries.webhooks import webhooks as all_webhooks
from engine.service.responses import RemovedWebhook

webhooks = Resource("/webhooks")


class NewWebhook(Body):
    """A webhook; without ``kinds``, for the events after which work waits for a person."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {"name": "ops", "url": "https://hooks.example.com/x", "kinds": ["task.failed"]}
            ]
        }
    )

    name: Name
    url: Text
    kinds: Annotated[tuple[EventKind, ...], Field(min_length=1)] = AWAITED_KINDS
    receiver: Receiver = Receiver.WEBHOOK


@webhooks.get("", all_webhooks, returns=Page[WebhookRow])
async def list_webhooks(call: Call, paging: PagingOf) -> Response:
    """List the webhooks, with the last error of those that fail."""
    return call.json(paging.part_of(await call.run(all_webhooks), attrgetter("name")))


@webhooks.post("", add_webhook, status=HTTPStatus.CREATED)
async def add(call: Call, body: NewWebhook) -> Response:
    """Add a webhook or another receiver; the response shows the secret of a webhook once."""
    added = await call.run(add_webhook, body.name, body.url, body.kinds, body.receiver)
    return call.json(added, HTTPStatus.CREATED)


@webhooks.delete("/{name}", remove_webhook, returns=RemovedWebhook)
async def remove(call: Call, name: str) -> Response:
    """Remove a webhook."""
    await call.run(remove_webhook, name)
    return call.json(RemovedWebhook(name))
