"""What reaches beyond an org is deployed by operators, or by members of a trusted org."""

import json
from typing import Any

import pytest

from engine.errors import Forbidden
from engine.model.dagfile import parse_dag
from engine.model.states import Role
from engine.service.caller import Caller
from engine.service.commands.deploys import deploy
from engine.service.commands.orgs import set_trusted
from engine.service.service import Service
from engine.store.database import Database
from tests.support.worlds import World, job, source

SHELL = {"operator": "shell", "config": {"command": "true"}}
KAFKA = {"kind": "kafka", "topic": "payments"}
SIGNED = {"kind": "http", "endpoint": "in", "format": "knockon"}


def of(kind: dict[str, Any]) -> list[dict[str, Any]]:
    return [{**source("a"), "source": kind}]


BEYOND = {
    "shell": [source("a"), job("b", "a", **SHELL)],
    "python": [
        source("a"),
        job("b", "a", operator="python", config={"callable": "m:f"}, version="1"),
    ],
    "topic": of(KAFKA),
    "registry": of({**SIGNED, "format": "record", "dataset": "a", "registry": "http://10.0.0.1/"}),
    "secret": of({**SIGNED, "signing_secret": "${BANK_TOKEN}"}),
}
WITHIN = {
    "external": [source("a"), job("b", "a", runtime="external", **SHELL)],
    "own secret": of({**SIGNED, "signing_secret": "${DEFAULT__TOKEN}"}),
}


@pytest.fixture
async def world(database: Database) -> World:
    return await World.made(database, source("first"), dag="first")


async def deployed(world: World, caller: Caller, jobs: list[dict[str, Any]]) -> None:
    text = json.dumps({"dag": "d", "jobs": jobs})
    await deploy(caller, world.service, [parse_dag(text, where="d.yaml")])


def member(world: World) -> Caller:
    return Caller(world.caller.org, "ann@example.com", Role.ADMIN)


@pytest.mark.parametrize("jobs", BEYOND.values(), ids=[*BEYOND])
async def test_members_do_not_deploy_beyond_the_org(
    world: World, jobs: list[dict[str, Any]]
) -> None:
    with pytest.raises(Forbidden, match="members of the org may not deploy"):
        await deployed(world, member(world), jobs)
    await set_trusted(world.caller, Service(world.database), True)
    await deployed(world, member(world), jobs)


@pytest.mark.parametrize("jobs", WITHIN.values(), ids=[*WITHIN])
async def test_members_deploy_within_the_org(world: World, jobs: list[dict[str, Any]]) -> None:
    await deployed(world, member(world), jobs)


async def test_operators_deploy_everything(world: World) -> None:
    await deployed(world, world.caller, BEYOND["shell"])


async def test_only_operators_trust_an_org(world: World) -> None:
    with pytest.raises(Forbidden, match="operators"):
        await set_trusted(member(world), world.service, True)
