"""Nothing that an operation returns or raises reveals a hidden dataset to users without the role.

Every operation is called with names and ids of hidden things by users with and without the role.
"""

import re
from typing import Any
from uuid import UUID

import msgspec
import pytest

from engine.errors import KnockonError
from engine.model.dagfile import parse_dag
from engine.model.event import SourceEvent
from engine.model.states import Role
from engine.service import commands, queries
from engine.service.caller import Caller
from engine.store.database import Database
from tests.support.hidden import DAYS, MARK, SEEN, Hidden, hidden_world
from tests.unit.service.test_operations import name_of, operations

OPERATIONS = {name_of(each): each for each in (*operations(queries), *operations(commands))}


@pytest.fixture
async def hidden(database: Database) -> Hidden:
    return await hidden_world(database)


Calls = list[tuple[tuple[Any, ...], dict[str, Any]]]


def call(*args: Any, **named: Any) -> tuple[tuple[Any, ...], dict[str, Any]]:
    return args, named


def calls_of(hidden: Hidden) -> dict[str, Calls | None]:
    """Arguments for every operation; None for operations of admins, from whom nothing is hidden."""
    ids, event = hidden.ids, SourceEvent(dataset="zzsecret_mid", partitions=(DAYS[0],))
    open_event = SourceEvent(dataset="start", partitions=(DAYS[0],))
    secret_task, seen_task = ids["make_zzsecret_mid succeeded"], ids[f"{SEEN} succeeded"]
    every_text = [id_ for id_ in hidden.secrets if id_ != MARK]
    every = [UUID(id_) for id_ in every_text]
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
        "queries.webhooks.webhooks": None,
        "commands.webhooks.add_webhook": None,
        "commands.webhooks.remove_webhook": None,
        "commands.orgs.set_trusted": None,
        "commands.orgs.set_admission": None,
        "queries.identity.admission": None,
        "commands.sessions.end_session": [call(UUID(int=7))],
        "commands.sessions.end_sessions": [call()],
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
        "queries.neighbourhood.neighbourhood": [
            call("zzsecret_mid"),
            call("zzsecret_mi"),
            call(SEEN, with_columns=True, column="total"),
            call("start", upstream=9, downstream=9),
            call("below", limit=2),
        ],
        "queries.orgs.settings": [call()],
        "queries.partition_states.partition_states": names,
        "queries.pauses.pauses": [call()],
        "queries.plans.plans": [call(), call(limit=1)],
        "queries.plans.plan": [call(ids["pending"]), call(ids["proposed"])],
        "queries.progress.progress": [call(every)],
        "queries.progress.build_of": [call(UUID(ids["version"]))],
        "queries.sessions.sessions": [call()],
        "queries.positions.positions": [call()],
        "queries.schedules.schedules": [call()],
        "queries.search.search": [
            call("zzsecret"),
            call("s", limit=100),
            call("zzsecret_dag"),
            *(call(id_) for id_ in every_text),
            *(call(id_[-8:]) for id_ in every_text),
            *(call(id_[:8]) for id_ in every_text[:3]),
        ],
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
        "commands.api_keys.extend_key": None,
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
        "commands.orgs.set_quota": None,
        "queries.usage.usage": None,
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
        "queries.sessions.sessions",
    }
    for name, calls in calls_of(hidden).items():
        if calls is None or not name.startswith("queries.") or name in silent:
            continue
        texts = [await answer(name, caller, hidden, *each) for each in calls]
        assert any(secret in text for text in texts for secret in hidden.secrets), (name, texts)
