"""With `four_eyes`, nobody approves or applies a plan of their own."""

from json import dumps

import pytest

from engine.errors import Forbidden
from engine.model.dagfile import parse_dag
from engine.model.event import SourceEvent
from engine.model.states import PlanState, Role
from engine.service.caller import Caller
from engine.service.commands.deploys import deploy
from engine.service.commands.invalidations import invalidate
from engine.service.commands.orgs import set_blast_radius, set_four_eyes, set_trusted
from engine.service.commands.plans import apply, approve, reject
from engine.service.commands.proposals import propose
from engine.service.queries.identity import access_changes
from engine.service.queries.orgs import settings
from engine.service.queries.plans import plans
from engine.service.service import Service
from engine.store.database import Database
from tests.support.worlds import World, job, source

RANGE = SourceEvent(dataset="a", partitions=("2013-02-01..2013-02-03",))


@pytest.fixture
async def world(database: Database) -> World:
    world = await World.made(database, source("a"), job("b", "a"))
    await set_blast_radius(world.caller, world.service, 1)
    await set_four_eyes(world.caller, world.service, required=True)
    return world


def person(world: World, name: str | None, role: Role = Role.WRITER) -> Caller:
    return Caller(world.caller.org, name, role)


async def test_the_setting_is_recorded(world: World) -> None:
    assert (await settings(world.caller, world.service)).four_eyes
    newest, *_ = await access_changes(world.caller, world.service)
    assert (newest.subject, newest.after) == ("four_eyes", {"four_eyes": True})


async def test_a_change_is_approved_by_another_person(world: World) -> None:
    await invalidate(person(world, "ann"), world.service, RANGE)
    await world.plan()
    (pending,) = await plans(world.caller, world.service, states=[PlanState.PENDING_APPROVAL])
    for caller in (person(world, "ann"), person(world, "ann", Role.ADMIN)):
        with pytest.raises(Forbidden, match="is your own"):
            await approve(caller, world.service, [str(pending.id)])
    with pytest.raises(Forbidden, match="name yourself with --by"):
        await approve(person(world, None), world.service, [str(pending.id)])
    (review,) = await approve(person(world, "ben"), world.service, [str(pending.id)])
    assert review.state == "applied"


async def test_a_proposal_is_applied_by_another_person(world: World) -> None:
    impact = await propose(person(world, "ann"), world.service, RANGE)
    with pytest.raises(Forbidden, match="is your own"):
        await apply(person(world, "ann"), world.service, str(impact.plan_id))
    assert (await apply(person(world, "ben"), world.service, str(impact.plan_id))).is_new


async def test_a_deploy_is_approved_by_another_person(world: World) -> None:
    await world.changed("a", "2013-02-01")
    await world.changed("a", "2013-02-02")
    await world.run()
    changed = job("b", "a", config={"version": 2})
    text = f'{{"dag": "w", "jobs": [{dumps(source("a"))}, {dumps(changed)}]}}'
    await set_trusted(world.caller, Service(world.database), True)  # a python job
    ann = person(world, "ann")
    deployed = await deploy(ann, world.service, [parse_dag(text, where="w.yaml")])
    assert deployed.pending_plan is not None
    with pytest.raises(Forbidden, match="is your own"):
        await approve(ann, world.service, [str(deployed.pending_plan)])
    (review,) = await approve(person(world, "ben"), world.service, [str(deployed.pending_plan)])
    assert review.state == "applied"


async def test_own_plans_may_be_rejected_and_others_need_no_second_person(world: World) -> None:
    await invalidate(person(world, "ann"), world.service, RANGE)
    await world.plan()
    (pending,) = await plans(world.caller, world.service, states=[PlanState.PENDING_APPROVAL])
    (review,) = await reject(person(world, "ann"), world.service, [str(pending.id)])
    assert review.state == "rejected"
    await set_four_eyes(world.caller, world.service, required=False)
    await invalidate(person(world, "ann"), world.service, RANGE)
    await world.plan()
    (pending,) = await plans(world.caller, world.service, states=[PlanState.PENDING_APPROVAL])
    assert (await approve(person(world, "ann"), world.service, [str(pending.id)]))[0].is_new
