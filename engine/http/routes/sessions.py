"""Sessions of the caller in browsers."""

from operator import attrgetter
from uuid import UUID

from starlette.requests import Request
from starlette.responses import Response

from engine.errors import InvalidInput
from engine.http.call import Call
from engine.http.pages import Page, PagingOf
from engine.http.resource import Resource
from engine.service.commands.sessions import end_session, end_sessions
from engine.service.queries.sessions import SessionRow
from engine.service.queries.sessions import sessions as own_sessions

sessions = Resource("/sessions")
logout = Resource("/logout")


@sessions.get("", own_sessions, returns=Page[SessionRow])
async def list_sessions(call: Call, paging: PagingOf) -> Response:
    """List the sessions of the caller's own user, newest first."""
    return call.json(paging.part_of(await call.run(own_sessions), attrgetter("id")))


@sessions.delete("", end_sessions)
async def end_all(call: Call) -> Response:
    """Log the caller's own user out everywhere."""
    return await call.answer(end_sessions)


@sessions.delete("/{id}", end_session)
async def end(call: Call, id: UUID) -> Response:  # noqa: A002
    """End a session of the caller's own user."""
    return await call.answer(end_session, id)


@logout.post("", end_session, name="log_out")
async def log_out(call: Call, request: Request) -> Response:
    """End the session of the request, and remove its cookie."""
    if call.caller.session_id is None:
        raise InvalidInput("the request has no session in a browser: revoke a key instead")
    response = await call.answer(end_session, call.caller.session_id)
    site = request.app.state.site
    site.forget(response, site.session_cookie)
    return response
