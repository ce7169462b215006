"""Admission of people who were verified by an identity provider."""

import asyncio

import pytest

from engine.errors import Forbidden
from engine.model.admission import Admission
from engine.model.person import Person, external_id
from engine.model.states import Role
from engine.service.admissions import authenticate_person
from engine.service.commands.orgs import set_admission
from engine.service.queries.identity import users
from engine.store.database import Database
from tests.support.worlds import World, job, source

ISSUER = "https://login.example.com"
_WAITING = """SELECT pid FROM pg_stat_activity
WHERE datname = current_database() AND wait_event_type = 'Lock'"""


def person(subject: str = "ann", *groups: str, at: int = 1_000) -> Person:
    return Person(ISSUER, subject, f"{subject}@example.com", groups, at)


@pytest.fixture
async def world(database: Database) -> World:
    world = await World.made(database, source("a"), job("b", "a"))
    terms = Admission(ISSUER, creates_users=True, roles={"readers": Role.READER})
    await set_admission(world.caller, world.service, terms)
    return world


async def test_a_person_is_a_caller_with_all_scopes(world: World) -> None:
    caller = await authenticate_person(world.service, person("ann", "readers"), "default", "http")
    assert (caller.user, caller.role, caller.origin) == ("ann@example.com", Role.READER, "http")
    assert not caller.is_operator


async def test_a_removal_during_the_first_login_wins(world: World) -> None:
    """The login has seen neither a user nor a removal, and waits for the other transaction."""
    ids = external_id(world.org.id, person().key), world.org.id
    async with world.conn() as conn, conn.transaction():
        await conn.execute(
            "INSERT INTO knockon.users (external_id, org_id, email, role) "
            "VALUES (%s, %s, 'x@example.com', 'reader')",
            ids,
        )
        login = asyncio.create_task(
            authenticate_person(world.service, person("ann", "readers"), "default", "http")
        )
        while not await world.rows(_WAITING):  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        await conn.execute("DELETE FROM knockon.users WHERE external_id = %s", ids[:1])
        await conn.execute(
            "INSERT INTO knockon.removed_users (external_id, org_id) VALUES (%s, %s)", ids
        )
    with pytest.raises(Forbidden):
        await login
    assert await users(world.caller, world.service) == []
