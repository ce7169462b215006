"""Users of an org."""

from http import HTTPStatus
from operator import attrgetter

from pydantic import ConfigDict
from starlette.responses import Response

from engine.http.bodies import Body, Name, Person, Text
from engine.http.call import Call
from engine.http.pages import Page, PagingOf
from engine.http.resource import Resource
from engine.model.states import Role
from engine.service.commands.users import add_user, remove_user, set_user_role
from engine.service.queries.identity import AccessChange, User, access_changes, users

people = Resource("/users")
changes = Resource("/access-changes")


class NewUser(Body):
    """A person; ``issuer`` and ``subject`` are those of the person's OIDC tokens."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"email": "ann@example.com", "role": "writer"}]}
    )

    email: Name
    role: Role
    issuer: Text | None = None
    subject: Text | None = None


class NewRole(Body):
    """The role to give to a user."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"role": "admin"}]})

    role: Role


@people.get("", users, returns=Page[User])
async def list_users(call: Call, paging: PagingOf) -> Response:
    """List the users of the org, by e-mail address."""
    return call.json(paging.part_of(await call.run(users), attrgetter("id")))


@people.post("", add_user, status=HTTPStatus.CREATED)
async def add(call: Call, body: NewUser) -> Response:
    """Add a person to the org."""
    added = await call.run(
        add_user, body.email, body.role, issuer=body.issuer, subject=body.subject
    )
    return call.json(added, HTTPStatus.CREATED)


@people.post("/{user}/role", set_user_role)
async def set_role(call: Call, user: Person, body: NewRole) -> Response:
    """Give a user another role, at once for all keys of the user as well."""
    return await call.answer(set_user_role, user, body.role)


@people.delete("/{user}", remove_user)
async def remove(call: Call, user: Person) -> Response:
    """Remove a user, with keys and memberships; records keep the name."""
    return await call.answer(remove_user, user)


@changes.get("", access_changes, returns=Page[AccessChange])
async def list_changes(call: Call, paging: PagingOf) -> Response:
    """List changes of users, roles, keys and settings, newest first."""
    rows = await call.run(access_changes, paging.rows, paging.before)
    return call.json(paging.of(rows, attrgetter("id")))
