"""Hidden datasets: placeholders, errors, pages, decisions and keys."""

from typing import Any
from uuid import UUID

import pytest

from engine.errors import Forbidden, KnockonError, UnknownName
from engine.model.dagfile import parse_dag
from engine.model.event import SourceEvent
from engine.model.states import KeyScope, PlanState, Role
from engine.service import commands, queries
from engine.service.authentication import authenticate
from engine.service.commands.api_keys import create_key
from engine.service.commands.backfills import backfill
from engine.service.commands.deploys import deploy
from engine.service.commands.invalidations import invalidate
from engine.service.commands.org_roles import add_org_role, grant_org_role, revoke_org_role
from engine.service.commands.plans import approve
from engine.service.commands.tasks import cancel_all, retry_all
from engine.service.commands.users import add_user
from engine.service.queries.datasets import datasets
from engine.service.queries.events import events
from engine.service.queries.explain_task import explain_task
from engine.service.queries.lineage import lineage_tree
from engine.service.queries.plans import plan, plans
from engine.service.queries.tasks import tasks
from engine.service.visibility import EVERYTHING
from engine.store.database import Database
from tests.support.hidden import DAYS, SEEN, Hidden, hidden_world
from tests.unit.service.test_operations import name_of, operations

OPERATIONS = {name_of(each): each for each in (*operations(queries), *operations(commands))}


@pytest.fixture
async def hidden(database: Database) -> Hidden:
    return await hidden_world(database)


@pytest.mark.parametrize(
    ("name", "at", "args"),
    [
        ("queries.partition_states.partition_states", 0, ["zzsecret_mid"]),
        ("queries.lineage.lineage_tree", 0, ["zzsecret_mid"]),
        ("queries.neighbourhood.neighbourhood", 0, ["zzsecret_mid"]),
        ("queries.datasets.datasets", 0, ["zzsecret_dag"]),
        ("queries.history.history", 0, ["zzsecret_dag"]),
        ("queries.history.file_of_version", 0, ["zzsecret_dag", 1]),
        ("commands.invalidations.invalidate", 0, [SourceEvent(dataset="zzsecret_mid")]),
        ("commands.jobs.run", 0, ["make_zzsecret_mid"]),
        ("commands.backfills.backfill", 0, ["zzsecret_mid", [DAYS[0]]]),
        ("commands.pauses.pause", 1, ["dataset", "zzsecret_mid"]),
        ("commands.pauses.resume", 1, ["dataset", "zzsecret_mid"]),
        ("commands.tasks.cancel_all", 0, []),
        ("commands.ingestion.ingest_messages", 0, ["zzsecret_end", []]),
        ("commands.worker_tasks.claim_tasks", 0, ["w9"]),
    ],
)
async def test_hidden_and_unknown_names_have_one_error(
    hidden: Hidden, name: str, at: int, args: list[Any]
) -> None:
    texts = []
    for given in ("as it is", "xx_unknown_xx"):
        named: dict[str, Any] = {}
        used = [*args]
        if name.endswith("cancel_all"):
            named["job"] = "make_zzsecret_mid" if given == "as it is" else given
            subject = named["job"]
        elif name.endswith("claim_tasks"):
            named["jobs"] = ("make_zzsecret_mid" if given == "as it is" else given,)
            subject = named["jobs"][0]
        else:
            subject = getattr(used[at], "dataset", used[at])
            if given != "as it is":
                is_event = isinstance(used[at], SourceEvent)
                used[at], subject = SourceEvent(dataset=given) if is_event else given, given
        caller = hidden.user(Role.WRITER)
        with pytest.raises(KnockonError) as error:
            await OPERATIONS[name](caller, hidden.world.service, *used, **named)
        texts.append((type(error.value), str(error.value).replace(subject, "?")))
    assert texts[0] == texts[1]


async def test_a_path_shows_that_something_is_hidden(hidden: Hidden) -> None:
    caller, service = hidden.user(Role.READER), hidden.world.service
    (start, seen) = await lineage_tree(caller, service)
    assert (start.dataset, [each.hidden for each in start.next]) == ("start", [True])
    assert start.next[0].dataset == "(hidden)"
    assert not start.next[0].next
    assert (seen.dataset, [each.dataset for each in seen.next]) == (SEEN, ["below"])
    explained = await explain_task(caller, service, hidden.ids[f"{SEEN} succeeded"])
    assert [hop.dataset for hop in explained.causes[0].path] == ["start", "(hidden)"]
    assert [each.job for each in explained.blockers] == ["(hidden)"]
    assert {*explained.inputs} == {"(hidden)"}
    assert [each.name for each in await datasets(caller, service)] == ["start", SEEN, "below"]


async def test_pages_are_full_in_spite_of_hidden_rows(hidden: Hidden) -> None:
    caller, service = hidden.user(Role.READER), hidden.world.service
    everything = await events(caller, service, after=0, limit=1_000)
    paged, position = [], 0
    while page := await events(caller, service, after=position, limit=2):
        paged += page
        position = page[-1].position
    assert paged == everything
    assert await events(caller, service, limit=3) == everything[-3:]
    assert len(await events(hidden.world.caller, service, after=0, limit=1_000)) > len(everything)
    listed = await tasks(caller, service)
    assert {each.job for each in listed} == {SEEN, "below"}
    assert await tasks(caller, service, limit=1) == listed[:1]


async def test_a_plan_is_decided_by_users_who_see_all_of_it(hidden: Hidden) -> None:
    service, without = hidden.world.service, hidden.user(Role.WRITER)
    of_hidden, partly = await plans(without, service, states=[PlanState.PENDING_APPROVAL])
    assert (of_hidden.datasets, partly.datasets) == (("(hidden)",), ("start",))
    shown = await plan(without, service, str(partly.id))
    assert [step.job for step in shown.steps] == ["(hidden)", SEEN, "below"]
    with pytest.raises(Forbidden, match="datasets that are hidden from you"):
        await approve(without, service, [str(partly.id)])
    (review,) = await approve(hidden.user(Role.WRITER, "finance"), service, [str(partly.id)])
    assert review.state == "applied"


async def test_commands_about_everything_leave_hidden_work_alone(hidden: Hidden) -> None:
    world = hidden.world
    before = (await world.tasks("make_zzsecret_mid"))["failed"]
    assert (await retry_all(hidden.user(Role.WRITER), world.service)).queued == 0
    await cancel_all(hidden.user(Role.WRITER), world.service)
    assert (await world.tasks("make_zzsecret_mid"))["failed"] == before
    assert (await retry_all(hidden.user(Role.WRITER, "finance"), world.service)).queued == len(
        before
    )


async def test_a_user_with_the_role_may_act(hidden: Hidden) -> None:
    caller, service = hidden.user(Role.WRITER, "finance"), hidden.world.service
    assert (await invalidate(caller, service, SourceEvent(dataset="zzsecret_feed"))).is_new
    assert (await backfill(caller, service, "zzsecret_mid", [DAYS[13]])).is_new


async def test_admins_and_the_local_user_see_everything(hidden: Hidden) -> None:
    for caller in (hidden.world.caller, hidden.user(Role.ADMIN)):
        names = [each.name for each in await datasets(caller, hidden.world.service)]
        assert "zzsecret_mid" in names
        async with hidden.world.service.snapshot(caller) as (conn, org):
            assert await hidden.world.service.visibility(caller, conn, org) is EVERYTHING


async def test_a_key_acts_with_the_roles_of_its_user(hidden: Hidden) -> None:
    world = hidden.world
    await add_user(world.caller, world.service, "ann@example.com", Role.READER)
    await add_org_role(world.caller, world.service, "finance")
    key = await create_key(world.caller, world.service, "ann@example.com", "k", [KeyScope.API])
    for change, expected in ((grant_org_role, {"finance"}), (revoke_org_role, set[str]())):
        await change(world.caller, world.service, "finance", "ann@example.com")
        caller = await authenticate(world.service, key.key, "test")
        assert caller.org_roles == expected
        names = {each.name for each in await datasets(caller, world.service)}
        assert ("zzsecret_mid" in names) == bool(expected)


async def test_a_deploy_of_a_dag_with_hidden_datasets_is_refused(hidden: Hidden) -> None:
    dag = parse_dag('{"dag": "w", "jobs": []}', where="w.yaml")
    with pytest.raises(Forbidden, match="'w' contains or names datasets that are hidden"):
        await deploy(hidden.user(Role.WRITER), hidden.world.service, [dag])


async def test_unknown_tasks_and_hidden_ones_have_one_error(hidden: Hidden) -> None:
    for id_ in (hidden.ids["make_zzsecret_mid failed"], str(UUID(int=7))):
        with pytest.raises(UnknownName, match=f"there is no task {id_} in this org: list them"):
            await explain_task(hidden.user(Role.READER), hidden.world.service, id_)
