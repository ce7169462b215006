"""Keys of users."""

from http import HTTPStatus
from operator import attrgetter
from typing import Annotated

from pydantic import ConfigDict, Field
from starlette.responses import Response

from engine.http.bodies import Body, Name, Text
from engine.http.call import Call
from engine.http.pages import Page, PagingOf
from engine.http.resource import Resource
from engine.model.states import KeyScope
from engine.service.commands.api_keys import create_key, revoke_key
from engine.service.queries.identity import KeyRow, api_keys
from engine.service.responses import RevokedKey

keys = Resource("/keys")


class NewKey(Body):
    """A key that acts for a user, by e-mail address or id; without ``seconds`` until revoked."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "user": "ann@example.com",
                    "name": "nightly-load",
                    "scopes": ["ingest"],
                    "seconds": 7_776_000,
                }
            ]
        }
    )

    user: Text
    name: Name
    scopes: Annotated[list[KeyScope], Field(min_length=1, max_length=len(KeyScope))]
    seconds: Annotated[float | None, Field(strict=True, gt=0, allow_inf_nan=False)] = None


@keys.get("", api_keys, returns=Page[KeyRow])
async def list_keys(call: Call, paging: PagingOf) -> Response:
    """List the keys of the org's users without their secrets, newest first."""
    return call.json(paging.part_of(await call.run(api_keys), attrgetter("prefix")))


@keys.post("", create_key, status=HTTPStatus.CREATED)
async def create(call: Call, body: NewKey) -> Response:
    """Create a key, which the response shows once."""
    created = await call.run(create_key, body.user, body.name, body.scopes, seconds=body.seconds)
    return call.json(created, HTTPStatus.CREATED)


@keys.post("/{prefix}/revoke", revoke_key, returns=RevokedKey)
async def revoke(call: Call, prefix: str) -> Response:
    """Revoke a key at once."""
    return call.json(RevokedKey(prefix, await call.run(revoke_key, prefix)))
