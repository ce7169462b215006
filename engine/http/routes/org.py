"""The org of the caller: settings, status and health."""

from typing import Annotated

from pydantic import ConfigDict, Field
from starlette.responses import Response

from engine.http.bodies import Body
from engine.http.call import Call
from engine.http.pages import Page
from engine.http.resource import Resource
from engine.service.checks.check import Check
from engine.service.commands.orgs import set_blast_radius, set_four_eyes
from engine.service.queries import health
from engine.service.queries.orgs import settings
from engine.service.queries.positions import Position
from engine.service.queries.positions import positions as all_positions
from engine.service.queries.status import status

org = Resource("/org")
state = Resource("/status")
streams = Resource("/positions")
checks = Resource("/health")


class BlastRadius(Body):
    """The most partitions that a plan recomputes without approval; null for no limit."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"limit": 1000}]})

    limit: Annotated[int | None, Field(ge=1)]


class FourEyes(Body):
    """Whether nobody may approve a plan of their own."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"required": True}]})

    required: bool


@org.get("", settings)
async def show_settings(call: Call) -> Response:
    """Show the settings of the org."""
    return await call.answer(settings)


@org.post("/blast-radius", set_blast_radius)
async def limit_plans(call: Call, body: BlastRadius) -> Response:
    """Limit the partitions that a plan recomputes without approval."""
    return await call.answer(set_blast_radius, body.limit)


@org.post("/four-eyes", set_four_eyes)
async def require_two_people(call: Call, body: FourEyes) -> Response:
    """Require another person for approvals, or no longer."""
    return await call.answer(set_four_eyes, body.required)


@state.get("", status)
async def show_status(call: Call) -> Response:
    """Show unfinished and stuck work, positions of consumers, and workers."""
    return await call.answer(status)


@streams.get("", all_positions, returns=Page[Position])
async def list_positions(call: Call) -> Response:
    """List the positions of consumers in topics and change logs, and how far they are behind."""
    return await call.answer_all(all_positions)


@checks.get("/processes", health.processes)
async def check_processes(call: Call) -> Response:
    """Check that the processes that the org needs are connected."""
    return await call.answer(health.processes)


@checks.get("/work", health.work, returns=Page[Check])
async def check_work(call: Call) -> Response:
    """Check deployed DAGs, and unfinished, failed and abandoned work."""
    return await call.answer_all(health.work)
