"""Deploys pending approval: their plan exceeds a limit, and nothing of them is deployed.

The files are stored with the plan. The approval deploys them, unless one of their DAGs has been
deployed meanwhile.
"""

from collections.abc import Iterable, Mapping
from typing import Any
from uuid import UUID

import msgspec
from psycopg.types.json import Jsonb

from engine.errors import InvalidInput
from engine.flow.deployment.changes import Change
from engine.flow.deployment.current_versions import load_current_versions
from engine.flow.deployment.deployment import Deployed
from engine.flow.deployment.prepared_deploy import PreparedDeploy
from engine.flow.deployment.undeploy import last_undeployed
from engine.flow.planning.pending_approval import insert_pending
from engine.flow.planning.review import described_steps
from engine.flow.shared.org_context import OrgContext
from engine.lineage.definition import hash_of
from engine.lineage.diff import DagDiff
from engine.lineage.version_file import storable_text
from engine.model.dag import DagFile
from engine.model.dagfile import reread_dag
from engine.store.database import Connection
from engine.store.ids import new_id
from engine.store.rows.plans import PlanId
from engine.store.run import fetch_one


class PendingFile(msgspec.Struct, frozen=True):
    """A DAG file whose deploy is pending, as content and as text.

    ``replaces`` is the hash of the file deployed last; null if there is none.
    """

    dag: str
    content: str
    text: str
    replaces: str | None


class PendingDeploy(msgspec.Struct, frozen=True):
    """Files whose deploy is pending, the person who deploys them, and the changes of each DAG."""

    deploy: tuple[PendingFile, ...]
    by: str | None = None
    changes: dict[str, DagDiff] = {}


async def store_pending_deploy(
    conn: Connection,
    org: OrgContext,
    prepared: PreparedDeploy,
    described: Deployed,
    by: str | None,
) -> UUID:
    """Store a deploy as a plan pending approval; return the plan's id.

    Unchanged files are left out, so that a later deploy of one does not prevent the approval.
    The same files have one plan, however often they are deployed. The transaction of the deploy was
    rolled back, so that there are no rows of its jobs.
    """
    given = [
        change
        for change in prepared.changes
        if change.is_given and not (change.is_empty and change.dag.dag not in prepared.restored)
    ]
    hashes = await _hashes(conn, org, [change.dag.dag for change in given])
    files = tuple(_file(change, hashes) for change in given)
    pending = PendingDeploy(files, by, {change.dag.dag: change.diff for change in given})
    event, decision = msgspec.to_builtins(pending), described.decision
    same = {"org_id": org.id, "deploy": Jsonb(event["deploy"])}
    row = await fetch_one(conn, "plans.pending_deploy", PlanId, **same)
    plan_id = row.id if row else new_id()
    document: dict[str, Any] = {"steps": [], "pruned": []}
    if decision is not None:
        document = decision.document | {"steps": [*described_steps(decision)]}
    await insert_pending(
        conn,
        org,
        plan_id,
        [],
        document,
        described.tasks,
        described.estimate,
        described.exceeded_limits,
        event,
    )
    return plan_id


def _file(change: Change, hashes: Mapping[str, str]) -> PendingFile:
    name = change.dag.dag
    text = storable_text(change.dag) or ""
    return PendingFile(name, change.compiled.file, text, hashes.get(name))


async def read_pending_deploy(
    conn: Connection, org: OrgContext, event: Mapping[str, Any]
) -> tuple[list[DagFile], str | None]:
    """Read the files of a pending deploy, and the person who deploys them.

    Raises InvalidInput if another file of a DAG has been deployed since, or InvalidDag if a file is
    not valid any more.
    """
    pending = msgspec.convert(event, PendingDeploy)
    hashes = await _hashes(conn, org, [file.dag for file in pending.deploy])
    for file in pending.deploy:
        if file.replaces != hashes.get(file.dag):
            raise InvalidInput(
                f"DAG {file.dag!r} has been deployed with another file since this plan was made: "
                "deploy the file again, and reject this plan"
            )
    dags = [reread_dag(file.content, file.text, file.dag) for file in pending.deploy]
    return dags, pending.by


async def _hashes(conn: Connection, org: OrgContext, dags: Iterable[str]) -> dict[str, str]:
    """Hash the files deployed last, also of undeployed DAGs; code outside the files is left out."""
    current = await load_current_versions(conn, org.id)
    hashes = {}
    for name in dags:
        version = current.get(name) or await last_undeployed(conn, org, name)
        if version is not None:
            content = msgspec.json.decode(version.compiled.file or "{}")
            for job in content.get("jobs", ()):
                job.pop("code", None)
            hashes[name] = hash_of(content)
    return hashes
