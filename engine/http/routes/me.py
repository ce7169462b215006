"""The caller of a request."""

from starlette.responses import Response

from engine.http.call import Call
from engine.http.resource import Resource
from engine.service.responses import Me

me = Resource("/me")


@me.get("", None, returns=Me)
async def show_me(call: Call) -> Response:
    """Show the user for whom the key acts, and the rights of the key."""
    caller = call.caller
    org = caller.org
    return call.json(Me(org.slug, org.id, caller.user, caller.role, sorted(caller.scopes)))
