"""Deploys pending approval: their plan exceeds a limit, and nothing of them is deployed.

The files are stored with the plan. The approval deploys them, unless one of their DAGs has been
deployed meanwhile.
"""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any
from uuid import UUID

import msgspec
from psycopg.types.json import Jsonb

from engine.errors import InvalidInput
from engine.flow.deployment.changes import Change
from engine.flow.deployment.current_versions import load_current_versions
from engine.flow.deployment.deployment import Deployed
from engine.flow.planning.review import described_steps
from engine.flow.shared.org_context import OrgContext
from engine.lineage.version_file import storable_text
from engine.model.dag import DagFile
from engine.model.dagfile import reread_dag
from engine.store.database import Connection
from engine.store.ids import new_id
from engine.store.run import execute


class PendingFile(msgspec.Struct, frozen=True):
    """A DAG file whose deploy is pending: its content, text, and the version to be replaced."""

    dag: str
    content: str
    text: str
    replaces: UUID | None


async def store_pending_deploy(
    conn: Connection,
    org: OrgContext,
    changes: Sequence[Change],
    described: Deployed,
) -> UUID:
    """Store a deploy as a plan pending approval; return the plan's id.

    The transaction of the deploy was rolled back, so that there are no rows of its jobs.
    """
    files = [_file(change) for change in changes if change.is_given]
    decision, plan_id = described.decision, new_id()
    document: dict[str, Any] = {"steps": [], "pruned": []}
    if decision is not None:
        document = decision.document | {"steps": [*described_steps(decision)]}
    await execute(
        conn,
        "plans.insert_pending",
        id=plan_id,
        org_id=org.id,
        epoch=org.epoch,
        invalidation_ids=[],
        document=Jsonb(document),
        task_count=described.tasks,
        estimate=Jsonb(asdict(described.estimate)),
        exceeded_limits="\n".join(map(str, described.exceeded_limits)),
        event=Jsonb({"deploy": msgspec.to_builtins(files)}),
    )
    return plan_id


def _file(change: Change) -> PendingFile:
    return PendingFile(
        change.dag.dag,
        change.compiled.file,
        storable_text(change.dag) or "",
        change.previous.version_id if change.previous else None,
    )


async def read_pending_deploy(
    conn: Connection, org: OrgContext, event: dict[str, Any]
) -> list[DagFile]:
    """Read the files of a pending deploy.

    Raises InvalidInput if a DAG has been deployed since, or InvalidDag if a file is not valid any
    more.
    """
    files = msgspec.convert(event["deploy"], list[PendingFile])
    current = await load_current_versions(conn, org.id)
    for file in files:
        version = current.get(file.dag)
        if file.replaces != (version.version_id if version else None):
            raise InvalidInput(
                f"DAG {file.dag!r} has been deployed or undeployed since this plan was made: "
                "deploy the file again, and reject this plan"
            )
    return [reread_dag(file.content, file.text) for file in files]
