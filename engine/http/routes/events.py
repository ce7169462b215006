"""The feed of events, in pages and as a stream."""

from typing import Annotated

from fastapi import Header, Query
from starlette.responses import Response

from engine.http.call import Call
from engine.http.pages import Page, PagingOf
from engine.http.resource import Resource
from engine.http.streams import EventStream, EventStreamResponse
from engine.model.states import EventKind
from engine.service.keyset import NEWEST_NUMBER
from engine.service.queries.events import FeedEvent, newest_position
from engine.service.queries.events import events as all_events

events = Resource("/events")
_Kinds = Annotated[
    list[EventKind] | None, Query(alias="kind", description="Kind of the events; repeatable.")
]
_After = Annotated[
    int | None,
    Query(ge=0, le=NEWEST_NUMBER, description="Position to continue after; 0: the beginning."),
]
_LastEventId = Annotated[
    int | None,
    Header(alias="Last-Event-ID", ge=0, le=NEWEST_NUMBER, description="Last position received."),
]


@events.get("", all_events, returns=Page[FeedEvent])
async def list_events(
    call: Call, paging: PagingOf, after: _After = None, kinds: _Kinds = None
) -> Response:
    """List events by position, the newest or those after a position."""
    start = after if paging.cursor is None else paging.number
    limit = paging.limit if start is None else paging.rows
    rows = await call.run(all_events, after=start, kinds=kinds, limit=limit)
    return call.json(paging.of(rows, lambda event: event.position))


@events.get("/stream", newest_position, name="stream_events", returns=FeedEvent)
async def stream(
    call: Call,
    after: _After = None,
    kinds: _Kinds = None,
    last_event_id: _LastEventId = None,
) -> Response:
    """Stream events as server-sent events, from now or without a gap after a position."""
    start = after if last_event_id is None else last_event_id
    if start is None:
        start = await call.run(newest_position)
    else:
        # An error, such as a position past its retention period, is still a response here.
        await call.run(all_events, after=start, kinds=kinds, limit=1)
    state = call.request.state
    feeds = call.request.app.state.feeds
    return EventStreamResponse(
        EventStream(call.service, feeds, state.key, start, kinds), state.key_prefix
    )
