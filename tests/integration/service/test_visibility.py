"""Nothing that an operation returns or raises reveals a hidden dataset to users without the role.

Every operation is called with names and ids of hidden things by users with and without the role.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import msgspec
import pytest

from engine.errors import Forbidden, KnockonError, UnknownName
from engine.model.api_key import ApiKey
from engine.model.dagfile import parse_dag
from engine.model.event import SourceEvent
from engine.model.states import KeyScope, PauseKind, PlanState, Role
from engine.service import commands, queries
from engine.service.authentication import authenticate
from engine.service.caller import Caller
from engine.service.commands.api_keys import create_key
from engine.service.commands.backfills import backfill
from engine.service.commands.invalidations import invalidate
from engine.service.commands.org_roles import add_org_role, grant_org_role, revoke_org_role
from engine.service.commands.orgs import set_blast_radius
from engine.service.commands.pauses import pause
from engine.service.commands.plans import approve
from engine.service.commands.proposals import propose
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
from tests.support.worlds import DAILY, World, job, source
from tests.unit.service.test_operations import name_of, operations

DAYS = [f"2013-02-{day:02}" for day in range(1, 15)]
MARK = "zzsecret"
SEEN = "visible"
OPERATIONS = {name_of(each): each for each in (*operations(queries), *operations(commands))}


def hidden_job(name: str, *inputs: str) -> dict[str, Any]:
    made = job(f"make_{name}", *inputs)
    made["outputs"] = [
        {"dataset": name, "partitioning": DAILY, "read_roles": ["finance"]},
    ]
    return made


def hidden_source(name: str, kind: dict[str, str]) -> dict[str, Any]:
    made = source(name, source=kind)
    made["outputs"][0]["read_roles"] = ["finance"]
    return made


@dataclass
class Hidden:
    """A world with hidden things, their ids, and the users with and without the role."""

    world: World
    ids: Mapping[str, str]
    secrets: frozenset[str]

    def user(self, role: Role, *org_roles: str) -> Caller:
        return Caller(self.world.caller.org, "rea", role, org_roles=frozenset(org_roles))


@pytest.fixture
async def hidden(database: Database) -> Hidden:
    world = await World.made(
        database,
        source("start"),
        hidden_job("zzsecret_mid", "start"),
        job(SEEN, "zzsecret_mid"),
        hidden_source("zzsecret_feed", {"kind": "kafka", "topic": "zzsecret_topic"}),
        job("below", "zzsecret_feed", SEEN),
    )
    await world.deploy(hidden_source("zzsecret_old", {"kind": "manual"}), dag="zzsecret_dag")
    await world.deploy(
        hidden_source("zzsecret_in", {"kind": "http", "endpoint": "zzsecret_end"}),
        dag="zzsecret_http",
    )
    await _work(world)
    return Hidden(world, await _ids(world), await _secrets(world))


async def _work(world: World) -> None:
    await world.changed("start", DAYS[0])
    await world.run()
    await world.changed("start", DAYS[1])
    (lease, *_) = await world.claim()
    await world.rows(
        "UPDATE tasks SET status = 'failed', lease_token = NULL, lease_expires_at = NULL, "
        "error_message = 'no zzsecret_mid' WHERE id = %s RETURNING id",
        lease.task_id,
    )
    await world.changed("zzsecret_mid", DAYS[2])
    await world.changed("zzsecret_feed", DAYS[3])
    await propose(world.caller, world.service, SourceEvent(dataset="zzsecret_mid"))
    await set_blast_radius(world.caller, world.service, 1)
    await world.changed("start", f"{DAYS[5]}..{DAYS[7]}")
    await world.changed("zzsecret_mid", f"{DAYS[8]}..{DAYS[10]}")
    await set_blast_radius(world.caller, world.service, None)
    await world.change("zzsecret_mid", DAYS[11])
    await world.change("start", DAYS[11])
    await world.rows(
        "UPDATE data_invalidations SET planning_error = 'zzsecret_mid is too large', "
        "set_aside_at = now() WHERE processed_at IS NULL AND plan_id IS NULL RETURNING id"
    )
    await world.change("zzsecret_feed", DAYS[12])
    for kind, name in ((PauseKind.DATASET, "zzsecret_mid"), (PauseKind.JOB, "make_zzsecret_mid")):
        await pause(world.caller, world.service, kind, name, reason=f"for {name}")
    await world.rows(
        "INSERT INTO dead_letters (id, org_id, consumer, stream, position, payload, headers, "
        "error) SELECT gen_random_uuid(), %s, 'knockon.default', s, '1', 'zzsecret_mid', '{}', "
        "'zzsecret_mid' FROM unnest(ARRAY['kafka/zzsecret_topic/0', 'http/zzsecret_end']) AS s "
        "RETURNING id",
        world.org.id,
    )
    await world.rows(
        "INSERT INTO consumer_positions (org_id, consumer, stream, position) VALUES "
        "(%s, 'knockon.default', 'kafka/zzsecret_topic/0', '7') RETURNING stream",
        world.org.id,
    )
    await world.rows("SELECT knockon.add_history_partition('knockon.events', now())")
    async with world.conn() as conn:
        while await publish_events(conn):
            pass


async def publish_events(conn: Any) -> bool:
    from engine.store.run import execute

    return bool(await execute(conn, "events.publish", limit=1_000))


async def _ids(world: World) -> dict[str, str]:
    rows = await world.rows(
        "SELECT t.id::text, j.name, t.status FROM tasks t JOIN jobs j ON j.id = t.job_id ORDER BY t.id"
    )
    ids = {f"{row['name']} {row['status']}": row["id"] for row in rows}
    for name, where in (
        (
            "invalidation",
            "SELECT i.id::text FROM data_invalidations i JOIN datasets d ON "
            "d.id = i.dataset_uuid WHERE d.name = 'zzsecret_mid' AND planning_error IS NOT NULL",
        ),
        ("letter", "SELECT id::text FROM dead_letters LIMIT 1"),
        (
            "version",
            "SELECT dag_version_id::text AS id FROM dag_current_versions "
            "WHERE dag_name = 'zzsecret_dag'",
        ),
        (
            "pending",
            "SELECT id::text FROM plans WHERE state = 'pending_approval' ORDER BY id LIMIT 1",
        ),
        ("proposed", "SELECT id::text FROM plans WHERE state = 'proposed' LIMIT 1"),
    ):
        ids[name] = (await world.rows(where))[0]["id"]
    return ids


async def _secrets(world: World) -> frozenset[str]:
    """Everything that no user without the role may see."""
    rows = await world.rows(
        "SELECT id::text FROM datasets WHERE name LIKE 'zzsecret%%' UNION ALL "
        "SELECT dataset_version::text FROM current_datasets c JOIN datasets d ON "
        "d.id = c.dataset_uuid WHERE d.name LIKE 'zzsecret%%' UNION ALL "
        "SELECT id::text FROM jobs WHERE name LIKE '%%zzsecret%%' UNION ALL "
        "SELECT t.id::text FROM tasks t JOIN jobs j ON j.id = t.job_id "
        "WHERE j.name LIKE '%%zzsecret%%' UNION ALL "
        "SELECT i.id::text FROM data_invalidations i JOIN datasets d ON d.id = i.dataset_uuid "
        "WHERE d.name LIKE 'zzsecret%%' UNION ALL SELECT id::text FROM dead_letters UNION ALL "
        "SELECT dag_version_id::text FROM dag_current_versions WHERE dag_name LIKE 'zzsecret%%'"
    )
    return frozenset({MARK, *(row["id"] for row in rows)})


Calls = list[tuple[tuple[Any, ...], dict[str, Any]]]


def call(*args: Any, **named: Any) -> tuple[tuple[Any, ...], dict[str, Any]]:
    return args, named


def calls_of(hidden: Hidden) -> dict[str, Calls | None]:
    """Arguments for every operation; None for operations of admins, from whom nothing is hidden."""
    ids, event = hidden.ids, SourceEvent(dataset="zzsecret_mid", partitions=(DAYS[0],))
    open_event = SourceEvent(dataset="start", partitions=(DAYS[0],))
    secret_task, seen_task = ids["make_zzsecret_mid succeeded"], ids[f"{SEEN} succeeded"]
    every = [UUID(id_) for id_ in hidden.secrets if id_ != MARK]
    dag = parse_dag('{"dag": "w", "jobs": []}', where="w.yaml")
    reading = parse_dag(
        '{"dag": "n", "jobs": [{"name": "n", "operator": "python", "config": {"callable": "a:b"},'
        ' "inputs": ["zzsecret_mid"], "outputs": [{"dataset": "n"}]}]}',
        where="n.yaml",
    )
    names = [call("zzsecret_mid"), call("zzsecret_mi"), call(SEEN)]
    return {
        "queries.attempts.task_log": [call(secret_task), call(seen_task)],
        "queries.audit.audit": [call(), *names],
        "queries.awaited.awaited": [call(every)],
        "queries.dags.dags": [call()],
        "queries.datasets.datasets": [call(), call("w"), call("zzsecret_dag"), call("zzsecret_da")],
        "queries.dead_letters.dead_letters": [call(), call(with_done=True)],
        "queries.dead_letters.dead_letter": [call(ids["letter"])],
        "queries.deploys.preview": [call([dag]), call([reading])],
        "queries.events.events": [call(limit=1000), call(after=0), call(after=0, limit=3)],
        "queries.events.newest_position": [call()],
        "queries.explain_partition.explain_partition": [
            call("zzsecret_mid", DAYS[0]),
            *(call(SEEN, day) for day in DAYS),
            call("below", DAYS[3]),
        ],
        "queries.explain_task.explain_task": [
            call("zzsecret_mid"),
            call(ids["proposed"]),
            *(call(id_) for id_ in ids.values()),
        ],
        "queries.health.processes": [call()],
        "queries.health.work": [call()],
        "queries.health.inflow": [call(None)],
        "queries.history.history": [call(), call("w"), call("zzsecret_dag")],
        "queries.history.file_of_version": [
            call("w", 1),
            call("zzsecret_dag", 1),
            call("zzsecret_dag", 9),
        ],
        "queries.identity.users": None,
        "queries.identity.org_roles": None,
        "queries.identity.api_keys": None,
        "queries.identity.access_changes": None,
        "queries.invalidations.invalidations": [
            call(),
            call(only_open=True),
            call(only_set_aside=True),
            call(dataset="zzsecret_mid"),
            call(dataset="zzsecret_mi"),
            call(limit=1),
        ],
        "queries.jobs.jobs": [call(), call("zzsecret_dag"), call("zzsecret_da")],
        "queries.lineage.lineage_tree": [
            call(),
            call(direction="up"),
            call("zzsecret_mid"),
            call(SEEN, "up"),
            call("start"),
        ],
        "queries.orgs.settings": [call()],
        "queries.partition_states.partition_states": names,
        "queries.pauses.pauses": [call()],
        "queries.plans.plans": [call(), call(limit=1)],
        "queries.plans.plan": [call(ids["pending"]), call(ids["proposed"])],
        "queries.progress.progress": [call(every)],
        "queries.progress.build_of": [call(UUID(ids["version"]))],
        "queries.stale.stale": [call(), *names],
        "queries.status.status": [call()],
        "queries.tasks.tasks": [
            call(),
            call(limit=1),
            call(job="make_zzsecret_mid"),
            call(job="make_zzsecret_mi"),
            call(job="w.make_zzsecret_mid"),
            call(job=SEEN),
        ],
        "commands.api_keys.create_key": None,
        "commands.api_keys.revoke_key": None,
        "commands.attachments.attach": None,
        "commands.attachments.detach": None,
        "commands.attachments.forget_reader": None,
        "commands.attachments.attached_tables": None,
        "commands.audit.mend": [call(), *names],
        "commands.backfills.backfill": [
            call("zzsecret_mid", [DAYS[0]]),
            call("make_zzsecret_mid", [DAYS[0]]),
        ],
        "commands.backfills.propose_backfill": [
            call("zzsecret_mid", [DAYS[0]]),
            call(SEEN, [DAYS[0]]),
        ],
        "commands.dead_letters.discard": [call([ids["letter"]], reason="done")],
        "commands.dead_letters.discard_all": [
            call(reason="done"),
            call(stream="kafka/zzsecret_topic", reason="done"),
            call(stream="kafka/zzsecret_topi", reason="done"),
        ],
        "commands.dead_letters.replay": [call([ids["letter"]])],
        "commands.dead_letters.replay_all": [call()],
        "commands.deploys.deploy": [call([dag]), call([reading])],
        "commands.grants.grant": None,
        "commands.grants.revoke": None,
        "commands.ingestion.ingest_messages": [call("zzsecret_end", []), call("zzsecret_en", [])],
        "commands.ingestion.ingest_request": [call("zzsecret_end", {}, b"{}")],
        "commands.invalidations.invalidate": [call(event), call(open_event)],
        "commands.invalidations.replay": [call([ids["invalidation"]])],
        "commands.invalidations.replay_all": [call()],
        "commands.jobs.run": [call("make_zzsecret_mid"), call("make_zzsecret_mi"), call("w.below")],
        "commands.org_roles.add_org_role": None,
        "commands.org_roles.remove_org_role": None,
        "commands.org_roles.grant_org_role": None,
        "commands.org_roles.revoke_org_role": None,
        "commands.orgs.set_blast_radius": None,
        "commands.orgs.set_four_eyes": None,
        "commands.orgs.set_grants": None,
        "commands.pauses.pause": [
            call("dataset", "zzsecret_mid"),
            call("job", "make_zzsecret_mid"),
            call("dataset", "zzsecret_mi"),
        ],
        "commands.pauses.resume": [
            call("dataset", "zzsecret_mid"),
            call("job", "make_zzsecret_mid"),
            call("job", "zz"),
        ],
        "commands.plans.apply": [call(ids["proposed"])],
        "commands.plans.approve": [call([ids["pending"]])],
        "commands.plans.reject": [call([ids["pending"]])],
        "commands.proposals.propose": [call(event), call(open_event)],
        "commands.sweeps.preview_sweep": None,
        "commands.sweeps.sweep": None,
        "commands.tasks.retry": [call([secret_task])],
        "commands.tasks.cancel": [call([secret_task])],
        "commands.tasks.retry_all": [call(job="make_zzsecret_mid"), call()],
        "commands.tasks.cancel_all": [call(job="make_zzsecret_mid"), call()],
        "commands.undeploys.preview_undeploy_of": None,
        "commands.undeploys.undeploy": None,
        "commands.users.add_user": None,
        "commands.users.remove_user": None,
        "commands.users.set_user_role": None,
        "commands.verify.verify": [
            call(share=1, seed=1),
            call("zzsecret_mid", share=1, seed=1),
            call("zzsecret_mi", share=1, seed=1),
        ],
        "commands.worker_tasks.claim_tasks": [
            call("w9", runtimes=("local",), limit=10),
            call("w9", jobs=("make_zzsecret_mid",)),
        ],
        "commands.worker_tasks.complete_task": None,
        "commands.worker_tasks.extend_task": None,
        "commands.worker_tasks.fail_task": None,
    }


async def answer(
    name: str, caller: Caller, hidden: Hidden, args: tuple[Any, ...], named: dict[str, Any]
) -> str:
    """The result as JSON, or the text of the error without the names given in the request."""
    try:
        result = await OPERATIONS[name](caller, hidden.world.service, *args, **named)
    except KnockonError as error:
        requested = set(re.findall(r"[\w.-]+", repr((args, named))))
        return re.sub(r"[\w.-]+", lambda each: "" if each[0] in requested else each[0], str(error))
    return msgspec.json.encode(result).decode()


def test_every_operation_is_covered() -> None:
    hidden = Hidden(None, _AnyId(), frozenset({MARK}))  # type: ignore[arg-type]
    assert calls_of(hidden).keys() == OPERATIONS.keys()
    for name, calls in calls_of(hidden).items():
        assert (calls is None) == _is_beyond_roles(name), name


class _AnyId(dict[str, str]):
    def __missing__(self, key: str) -> str:
        return str(UUID(int=7))


def _is_beyond_roles(name: str) -> bool:
    """Return True for operations of admins, who see everything, and of the worker of a task."""
    operation: Any = OPERATIONS[name]
    return operation.required_role is Role.ADMIN or operation.requires_task


@pytest.mark.parametrize("name", [name for name in OPERATIONS if not _is_beyond_roles(name)])
async def test_no_operation_reveals_anything_hidden(hidden: Hidden, name: str) -> None:
    caller = hidden.user(Role.WRITER)
    for args, named in calls_of(hidden)[name] or ():
        text = await answer(name, caller, hidden, args, named)
        shown = {each for each in hidden.secrets if each in text}
        assert not shown, (args, named, text)


async def test_a_user_with_the_role_sees_it(hidden: Hidden) -> None:
    """So that the test above can fail: each operation about hidden things shows them."""
    caller = hidden.user(Role.WRITER, "finance")
    silent = {
        "queries.events.newest_position",
        "queries.health.processes",
        "queries.health.work",
        "queries.orgs.settings",
        "queries.progress.build_of",
        "queries.deploys.preview",
    }
    for name, calls in calls_of(hidden).items():
        if calls is None or not name.startswith("queries.") or name in silent:
            continue
        texts = [await answer(name, caller, hidden, *each) for each in calls]
        assert any(secret in text for text in texts for secret in hidden.secrets), (name, texts)


@pytest.mark.parametrize(
    ("name", "at", "args"),
    [
        ("queries.partition_states.partition_states", 0, ["zzsecret_mid"]),
        ("queries.lineage.lineage_tree", 0, ["zzsecret_mid"]),
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
        with pytest.raises(KnockonError) as error:
            caller = hidden.user(Role.WRITER)
            await OPERATIONS[name](caller, hidden.world.service, *used, **named)
        texts.append((type(error.value), str(error.value).replace(subject, "?")))
    assert texts[0] == texts[1]


async def test_a_path_shows_that_something_is_hidden(hidden: Hidden) -> None:
    caller, service = hidden.user(Role.READER), hidden.world.service
    (start, seen) = await lineage_tree(caller, service)
    assert (start.dataset, [each.hidden for each in start.next]) == ("start", [True])
    assert start.next[0].dataset == "(hidden)" and not start.next[0].next
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
    assert ApiKey.parse(key.key)
    for change, expected in ((grant_org_role, {"finance"}), (revoke_org_role, set[str]())):
        await change(world.caller, world.service, "finance", "ann@example.com")
        caller = await authenticate(world.service, key.key, "test")
        assert caller.org_roles == expected
        names = {each.name for each in await datasets(caller, world.service)}
        assert ("zzsecret_mid" in names) == bool(expected)


async def test_a_deploy_of_a_dag_with_hidden_datasets_is_refused(hidden: Hidden) -> None:
    dag = parse_dag('{"dag": "w", "jobs": []}', where="w.yaml")
    with pytest.raises(Forbidden, match="'w' contains or names datasets that are hidden"):
        await OPERATIONS["commands.deploys.deploy"](
            hidden.user(Role.WRITER), hidden.world.service, [dag]
        )


async def test_unknown_tasks_and_hidden_ones_have_one_error(hidden: Hidden) -> None:
    for id_ in (hidden.ids["make_zzsecret_mid failed"], str(UUID(int=7))):
        with pytest.raises(UnknownName, match=f"there is no task {id_} in this org: list them"):
            await explain_task(hidden.user(Role.READER), hidden.world.service, id_)
