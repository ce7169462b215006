"""Dead letters."""

from operator import attrgetter
from typing import Annotated
from uuid import UUID

from fastapi import Query
from pydantic import ConfigDict
from starlette.responses import Response

from engine.http.bodies import Body, Chosen, Id, Ids, Note, Text
from engine.http.call import Call
from engine.http.pages import Page, PagingOf
from engine.http.resource import Resource
from engine.service.commands.dead_letters import (
    Replayed,
    discard,
    discard_all,
    replay,
    replay_all,
)
from engine.service.queries.dead_letters import DeadLetter, dead_letter
from engine.service.queries.dead_letters import dead_letters as all_letters
from engine.service.responses import Discarded

letters = Resource("/dead-letters")


class Discarding(Body):
    """The reason for which a dead letter is discarded."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"reason": "sent by a test"}]})

    reason: Note


class Replaying(Body):
    """The dead letters to ingest again; without ``ids``, all open ones."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"ids": ["01941f29-7c00-7000-8000-000000000000"]}]}
    )

    ids: Ids | None = None


class DiscardingMany(Chosen, Discarding):
    """The dead letters to discard: by ids, of a stream, with a text in the error, or all."""

    stream: Text | None = None
    error: Text | None = None


@letters.get("", all_letters, returns=Page[DeadLetter])
async def list_letters(
    call: Call,
    paging: PagingOf,
    done: Annotated[bool, Query(description="Replayed and discarded ones as well.")] = False,
) -> Response:
    """List dead letters, newest first."""
    rows = await call.run(all_letters, with_done=done, limit=paging.rows, before=paging.before)
    return call.json(paging.of(rows, attrgetter("id")))


@letters.post("/replay", replay_all, name="replay_all_dead_letters", returns=Page[Replayed])
async def replay_many(call: Call, body: Replaying | None = None) -> Response:
    """Ingest dead letters again, by ids, or all open ones, the oldest first."""
    if body is not None and body.ids is not None:
        return await call.answer_all(replay, body.ids)
    return await call.answer_all(replay_all)


@letters.post("/discard", discard_all, name="discard_dead_letters", returns=Discarded)
async def discard_many(call: Call, body: DiscardingMany) -> Response:
    """Discard dead letters by ids, or all open ones of a stream, or with a text in the error."""
    if body.ids is not None:
        return call.json(_discarded(await call.run(discard, body.ids, reason=body.reason)))
    count = await call.run(discard_all, stream=body.stream, error=body.error, reason=body.reason)
    return call.json(Discarded(count))


@letters.get("/{id}", dead_letter)
async def show(call: Call, id: Id) -> Response:  # noqa: A002
    """Show a dead letter with its payload."""
    return await call.answer(dead_letter, id)


@letters.post("/{id}/replay", replay, name="replay_dead_letter", returns=Replayed)
async def replay_one(call: Call, id: Id) -> Response:  # noqa: A002
    """Ingest a dead letter again with the current format of the topic."""
    (outcome,) = await call.run(replay, [id])
    return call.json(outcome)


@letters.post("/{id}/discard", discard, name="discard_dead_letter", returns=Discarded)
async def discard_one(call: Call, id: Id, body: Discarding) -> Response:  # noqa: A002
    """Discard a dead letter without a replay; it is kept with the user and the reason."""
    return call.json(_discarded(await call.run(discard, [id], reason=body.reason)))


def _discarded(ids: list[UUID]) -> Discarded:
    return Discarded(len(ids), ids)
