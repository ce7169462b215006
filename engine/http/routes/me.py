"""The caller of a request."""

from uuid import UUID

import msgspec
from starlette.responses import Response

from engine.http.call import Call
from engine.http.resource import Resource
from engine.model.states import KeyScope, Role

me = Resource("/me")


class Me(msgspec.Struct, frozen=True):
    """The user for whom the key acts, with the rights of the key."""

    org: str
    org_id: UUID
    user: str | None
    role: Role
    scopes: list[KeyScope]


@me.get("", None, returns=Me)
async def show_me(call: Call) -> Response:
    """Show the user for whom the key acts, and the rights of the key."""
    caller = call.caller
    org = caller.org
    return call.json(Me(org.slug, org.id, caller.user, caller.role, sorted(caller.scopes)))
