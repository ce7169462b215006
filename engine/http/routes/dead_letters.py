"""Dead letters."""

from operator import attrgetter
from typing import Annotated
from uuid import UUID

import msgspec
from fastapi import Query
from pydantic import ConfigDict
from starlette.responses import Response

from engine.http.bodies import Body, Note, Text
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

letters = Resource("/dead-letters")


class Discarding(Body):
    """The reason for which a dead letter is discarded."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"reason": "sent by a test"}]})

    reason: Note


class DiscardingMany(Discarding):
    """The dead letters to discard: of a stream, with a text in the error, or all."""

    stream: Text | None = None
    error: Text | None = None


class Discarded(msgspec.Struct, frozen=True):
    """The number of discarded dead letters."""

    discarded: int


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
async def replay_many(call: Call) -> Response:
    """Ingest all open dead letters again, the oldest first."""
    return await call.answer_all(replay_all)


@letters.post("/discard", discard_all, name="discard_dead_letters", returns=Discarded)
async def discard_many(call: Call, body: DiscardingMany) -> Response:
    """Discard all open dead letters of a stream, or with a text in the error."""
    count = await call.run(discard_all, stream=body.stream, error=body.error, reason=body.reason)
    return call.json(Discarded(count))


@letters.get("/{id}", dead_letter)
async def show(call: Call, id: UUID) -> Response:  # noqa: A002
    """Show a dead letter with its payload."""
    return await call.answer(dead_letter, str(id))


@letters.post("/{id}/replay", replay, name="replay_dead_letter", returns=Replayed)
async def replay_one(call: Call, id: UUID) -> Response:  # noqa: A002
    """Ingest a dead letter again with the current format of the topic."""
    outcomes = await call.run(replay, [str(id)])
    return call.json(outcomes[0] if outcomes else Replayed(id, None))


@letters.post("/{id}/discard", discard, name="discard_dead_letter", returns=Discarded)
async def discard_one(call: Call, id: UUID, body: Discarding) -> Response:  # noqa: A002
    """Discard a dead letter without a replay; it is kept with the user and the reason."""
    return call.json(Discarded(len(await call.run(discard, [str(id)], reason=body.reason))))
