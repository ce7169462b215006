"""The org of the caller: settings, status and health."""

from typing import Annotated

import msgspec
from pydantic import ConfigDict, Field
from starlette.responses import Response

from engine.errors import InvalidInput
from engine.http.bodies import Body, Flag, Text
from engine.http.call import Call
from engine.http.pages import Page
from engine.http.resource import Resource
from engine.model.admission import Admission
from engine.model.states import Role
from engine.service.checks.check import Check
from engine.service.commands.orgs import set_admission, set_blast_radius, set_four_eyes
from engine.service.queries import health
from engine.service.queries.identity import admission
from engine.service.queries.orgs import settings
from engine.service.queries.positions import Position
from engine.service.queries.positions import positions as all_positions
from engine.service.queries.status import status
from engine.service.queries.usage import usage
from engine.service.responses import OrgAdmission

org = Resource("/org")
state = Resource("/status")
streams = Resource("/positions")
checks = Resource("/health")


class BlastRadius(Body):
    """The most partitions that a plan recomputes without approval; null for no limit."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"limit": 1000}]})

    limit: Annotated[int | None, Field(strict=True, ge=1)]


class FourEyes(Body):
    """Whether nobody may approve a plan of their own."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"required": True}]})

    required: Flag


class Terms(Body):
    """People of the issuer who are admitted to the org, and what their groups grant.

    Without an issuer, nobody is admitted.
    """

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "issuer": "https://login.example.com/realms/acme",
                    "creates_users": True,
                    "roles": {"/data/engineers": "writer", "/data/leads": "admin"},
                    "org_roles": {"/finance": ["finance"]},
                }
            ]
        }
    )

    issuer: Text | None
    creates_users: Flag = False
    default_role: Role | None = None
    roles: dict[str, Role] = Field(default_factory=dict)
    org_roles: dict[str, list[str]] = Field(default_factory=dict)

    def admission(self) -> Admission | None:
        """Return the terms. Raises InvalidInput."""
        if self.issuer is None:
            return None
        try:
            return msgspec.convert(self.model_dump(), Admission)
        except msgspec.ValidationError as error:
            raise InvalidInput(f"the terms of admission are not valid: {error}") from None


@org.get("", settings)
async def show_settings(call: Call) -> Response:
    """Show the settings of the org."""
    return await call.answer(settings)


@org.get("/usage", usage)
async def show_usage(call: Call) -> Response:
    """Show what the org uses of its quotas."""
    return await call.answer(usage)


@org.post("/blast-radius", set_blast_radius)
async def limit_plans(call: Call, body: BlastRadius) -> Response:
    """Limit the partitions that a plan recomputes without approval."""
    return await call.answer(set_blast_radius, body.limit)


@org.post("/four-eyes", set_four_eyes)
async def require_two_people(call: Call, body: FourEyes) -> Response:
    """Require another person for approvals, or no longer."""
    return await call.answer(set_four_eyes, body.required)


@org.get("/admission", admission, returns=OrgAdmission)
async def show_admission(call: Call) -> Response:
    """Show who is admitted to the org through the identity provider."""
    return call.json(OrgAdmission(await call.run(admission)))


@org.post("/admission", set_admission, returns=OrgAdmission)
async def admit(call: Call, body: Terms) -> Response:
    """Set who is admitted to the org through the identity provider; ends all sessions."""
    return call.json(OrgAdmission(await call.run(set_admission, body.admission())))


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
