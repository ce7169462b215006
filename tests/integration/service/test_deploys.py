"""Deploys, dead letters, audits and roles through the service."""

import json
import re
from typing import Any

import pytest

from engine.errors import InvalidDag, InvalidInput
from engine.flow.ingestion.ingest import ingest
from engine.model.dag import DagFile
from engine.model.dagfile import parse_dag
from engine.model.event import Batch, Rejection
from engine.model.states import PlanState, Role
from engine.service.caller import Caller
from engine.service.commands.audit import mend
from engine.service.commands.dead_letters import discard
from engine.service.commands.deploys import deploy
from engine.service.commands.plans import approve
from engine.service.queries.audit import audit
from engine.service.queries.dead_letters import dead_letter, dead_letters
from engine.service.queries.deploys import preview
from engine.service.queries.lineage import lineage_tree
from engine.service.queries.plans import plan, plans
from engine.service.queries.progress import build_of, progress
from engine.store.database import Database
from engine.store.orgs import set_setting
from tests.support.worlds import World, job, source

DAY = "2013-02-13"


@pytest.fixture
async def world(database: Database) -> World:
    return await World.made(database, source("a"), job("b", "a"))


def dag(*jobs: dict[str, Any]) -> DagFile:
    return parse_dag(json.dumps({"dag": "more", "jobs": list(jobs)}), where="more.yaml")


async def test_a_preview_deploys_nothing(world: World) -> None:
    reader = Caller(world.caller.org, None, Role.READER)
    shown = await preview(reader, world.service, [dag(job("c", "b"))])
    assert (shown.dags[0].version_id, shown.dags[0].diff.added) == (None, ("c",))
    (root,) = await lineage_tree(world.caller, world.service)
    assert [node.next for node in root.next] == [()]


async def test_a_deploy_builds_new_datasets(world: World) -> None:
    await world.changed("a", DAY)
    await world.run()
    done = await deploy(world.caller, world.service, [dag(job("c", "b"))])
    version_id = done.dags[0].version_id
    assert version_id is not None
    ids = await build_of(world.caller, world.service, version_id)
    assert (await progress(world.caller, world.service, ids)).tasks == {"queued": 1}


async def test_a_preview_lists_the_jobs_of_all_dags(world: World) -> None:
    await world.changed("a", DAY)
    await world.run()
    await deploy(world.caller, world.service, [dag(job("c", "b"))])
    await world.run()
    jobs = [source("a"), job("b", "a", config={"callable": "else:where"})]
    changed = parse_dag(json.dumps({"dag": "w", "jobs": jobs}), where="w.yaml")
    shown = await preview(world.caller, world.service, [changed])
    assert [(each.dag, each.job, each.partitions) for each in shown.jobs] == [
        ("w", "b", (DAY,)),
        ("more", "c", (DAY,)),
    ]
    assert (shown.tasks, shown.exceeded_limits, shown.pending_plan) == (2, (), None)


async def test_a_deploy_beyond_a_limit_is_a_plan_to_approve(world: World) -> None:
    await world.changed("a", DAY)
    await world.run()
    async with world.conn() as conn:
        await set_setting(conn, world.org.id, "blast_radius", 0)
    pending = await deploy(world.caller, world.service, [dag(job("c", "b"))])
    assert pending.pending_plan is not None
    (row,) = await plans(world.caller, world.service, states=[PlanState.PENDING_APPROVAL])
    assert (row.id, row.dags, row.tasks) == (pending.pending_plan, ("more",), 1)
    view = await plan(world.caller, world.service, str(row.id))
    assert [step.job for step in view.steps] == ["c"]
    (review,) = await approve(world.caller, world.service, [str(row.id)])
    assert (review.state, review.tasks) == ("applied", 1)
    assert await world.run() == [f"c[{DAY}]"]


async def test_a_rejected_deploy_writes_nothing(world: World) -> None:
    with pytest.raises(InvalidDag):
        await deploy(world.caller, world.service, [dag(job("c", "nowhere"))])
    assert len(await lineage_tree(world.caller, world.service)) == 1


async def test_closing_a_dead_letter_records_the_caller(world: World) -> None:
    letter = Rejection(stream="kafka/t/0", position="7", payload=b"{", error="no JSON")
    async with world.conn() as conn:
        await ingest(conn, world.org, Batch(consumer="k", rejections=(letter,)))
    (row,) = await dead_letters(world.caller, world.service)
    ann = Caller(world.caller.org, "ann", Role.WRITER)
    with pytest.raises(InvalidInput, match="reason is empty"):
        await discard(ann, world.service, [str(row.id)], reason=" ")
    assert await discard(ann, world.service, [str(row.id)[-8:]], reason="sent again") == [row.id]
    stored = await dead_letter(ann, world.service, str(row.id))
    assert (stored.closed_by, stored.close_reason) == ("ann", "sent again")


async def test_an_audit_counts_and_only_mend_invalidates(world: World) -> None:
    await world.changed("a", DAY)
    await world.rows("DELETE FROM tasks RETURNING id")
    reader = Caller(world.caller.org, None, Role.READER)
    assert (await audit(reader, world.service)).lost == 1
    assert (await audit(reader, world.service)).lost == 1
    assert (await mend(world.caller, world.service)).lost == 1
    assert (await audit(reader, world.service)).lost == 0


async def test_roles_equal_those_of_the_schema(world: World) -> None:
    (row,) = await world.rows(
        "SELECT pg_get_constraintdef(oid) AS text FROM pg_constraint WHERE conname = %s",
        "users_role_check",
    )
    assert re.findall(r"'(\w+)'", row["text"]) == [role.value for role in Role]
