"""Roles defined by an org, and their members."""

from http import HTTPStatus
from operator import attrgetter

from pydantic import ConfigDict
from starlette.responses import Response

from engine.http.bodies import Body, Name, Person, Text
from engine.http.call import Call
from engine.http.pages import Page, PagingOf
from engine.http.resource import Resource
from engine.service.commands.org_roles import (
    add_org_role,
    grant_org_role,
    remove_org_role,
    revoke_org_role,
)
from engine.service.queries.identity import OrgRole, org_roles
from engine.service.responses import Membership

roles = Resource("/roles")


class NewOrgRole(Body):
    """A role; ``name`` describes it to people."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"slug": "finance", "name": "Finance department"}]}
    )

    slug: Name
    name: Text | None = None


class Member(Body):
    """A user, by e-mail address or id."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"user": "ann@example.com"}]})

    user: Text


@roles.get("", org_roles, returns=Page[OrgRole])
async def list_roles(call: Call, paging: PagingOf) -> Response:
    """List the roles of the org, with their members."""
    return call.json(paging.part_of(await call.run(org_roles), attrgetter("id")))


@roles.post("", add_org_role, status=HTTPStatus.CREATED)
async def add(call: Call, body: NewOrgRole) -> Response:
    """Add a role without members."""
    added = await call.run(add_org_role, body.slug, body.name)
    return call.json(added, HTTPStatus.CREATED)


@roles.delete("/{role}", remove_org_role)
async def remove(call: Call, role: str) -> Response:
    """Remove a role with its memberships."""
    return await call.answer(remove_org_role, role)


@roles.post("/{role}/members", grant_org_role, returns=Membership)
async def grant(call: Call, role: str, body: Member) -> Response:
    """Make a user a member of a role."""
    return call.json(Membership(await call.run(grant_org_role, role, body.user)))


@roles.delete("/{role}/members/{user}", revoke_org_role, returns=Membership)
async def revoke(call: Call, role: str, user: Person) -> Response:
    """End the membership of a user."""
    return call.json(Membership(await call.run(revoke_org_role, role, user)))
