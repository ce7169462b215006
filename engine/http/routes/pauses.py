"""Pauses of jobs, datasets and the org."""

from pydantic import ConfigDict
from starlette.responses import Response

from engine.http.bodies import Body, Note, Text
from engine.http.call import Call
from engine.http.pages import Page
from engine.http.resource import Resource
from engine.model.states import PauseKind
from engine.service.commands.pauses import pause, resume
from engine.service.queries.pauses import Pause
from engine.service.queries.pauses import pauses as all_pauses

pauses = Resource("/pauses")


class Subject(Body):
    """A job, a dataset, or the org, which has no name."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"kind": "job", "name": "shop.daily_sales"}]}
    )

    kind: PauseKind
    name: Text | None = None


class NewPause(Subject):
    """A pause, with the reason for others to read."""

    reason: Note | None = None


@pauses.get("", all_pauses, returns=Page[Pause])
async def list_pauses(call: Call) -> Response:
    """List everything that is paused."""
    return await call.answer_all(all_pauses)


@pauses.post("", pause)
async def begin(call: Call, body: NewPause) -> Response:
    """Pause a job, a dataset, or the org."""
    return await call.answer(pause, body.kind, body.name, reason=body.reason)


@pauses.post("/resume", resume)
async def end(call: Call, body: Subject) -> Response:
    """End a pause; the work gathered meanwhile continues."""
    return await call.answer(resume, body.kind, body.name)
