"""Invalidations."""

from http import HTTPStatus
from operator import attrgetter
from typing import Annotated
from uuid import UUID

from fastapi import Header, Query
from pydantic import ConfigDict
from starlette.responses import Response

from engine.http.bodies import MOST_IDS, Body, Change, Flag
from engine.http.bodies import Ids as NamedIds
from engine.http.call import Call
from engine.http.pages import Page, PagingOf
from engine.http.resource import Resource
from engine.model.event import MAX_TEXT
from engine.service.commands.invalidations import invalidate, replay, replay_all
from engine.service.queries.awaited import awaited
from engine.service.queries.invalidations import InvalidationRow
from engine.service.queries.invalidations import invalidations as all_invalidations
from engine.service.queries.progress import build_of, progress
from engine.service.responses import Ids

invalidations = Resource("/invalidations")
_Key = Annotated[
    str | None,
    Header(
        alias="Idempotency-Key",
        min_length=1,
        max_length=MAX_TEXT,
        description="A repeated key is the same request, which has an effect once.",
    ),
]
_Ids = Annotated[
    list[UUID],
    Query(alias="id", min_length=1, max_length=MOST_IDS, description="Id; repeatable."),
]


class Replay(Body):
    """Set-aside invalidations to plan again, without ``ids`` all of the org.

    ``whole`` widens them to whole datasets.
    """

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"ids": ["01941f29-7c00-7000-8000-000000000000"]}]}
    )

    ids: NamedIds | None = None
    whole: Flag = False


@invalidations.get("", all_invalidations, returns=Page[InvalidationRow])
async def list_invalidations(
    call: Call,
    paging: PagingOf,
    dataset: Annotated[str | None, Query(max_length=MAX_TEXT)] = None,
    open: Annotated[bool, Query(description="Only those not planned yet.")] = False,  # noqa: A002
    set_aside: Annotated[bool, Query(description="Only those with a planning error.")] = False,
) -> Response:
    """List invalidations, newest first."""
    rows = await call.run(
        all_invalidations,
        dataset=dataset,
        only_open=open,
        only_set_aside=set_aside,
        limit=paging.rows,
        before=paging.before,
    )
    return call.json(paging.of(rows, attrgetter("id")))


@invalidations.post("", invalidate, status=HTTPStatus.CREATED)
async def create(call: Call, body: Change, idempotency_key: _Key = None) -> Response:
    """Mark part of a dataset as changed; a request repeated with its key has status 200."""
    requested = await call.run(invalidate, body.event(idempotency_key))
    return call.json(requested, HTTPStatus.CREATED if requested.is_new else HTTPStatus.OK)


@invalidations.post("/replay", replay, name="replay_invalidations", returns=Ids)
async def plan_again(call: Call, body: Replay) -> Response:
    """Plan set-aside invalidations again."""
    if body.ids is None:
        return call.json(Ids(await call.run(replay_all, whole=body.whole)))
    return call.json(Ids(await call.run(replay, body.ids, whole=body.whole)))


@invalidations.get("/progress", progress)
async def show_progress(call: Call, ids: _Ids) -> Response:
    """Show the progress of the tasks of invalidations."""
    return await call.answer(progress, ids)


@invalidations.get("/awaited", awaited)
async def show_awaited(call: Call, ids: _Ids) -> Response:
    """Show the unfinished work of invalidations, including tasks upstream."""
    return await call.answer(awaited, ids)


@invalidations.get("/of-version/{version}", build_of, returns=Ids)
async def show_builds(call: Call, version: UUID) -> Response:
    """Show the invalidations for the initial builds of a DAG version, by the id of the version."""
    return call.json(Ids(await call.run(build_of, version)))
