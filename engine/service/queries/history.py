"""History of the deploys of DAGs, and the files of DAG versions."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

import msgspec

from engine.errors import Forbidden, UnknownName
from engine.flow.shared.org_context import OrgContext
from engine.lineage.compiled import CompiledDag
from engine.lineage.diff import DagDiff, diff
from engine.lineage.version_file import version_file
from engine.model.states import DeployKind, Role
from engine.service.caller import Caller, requires
from engine.service.keyset import NEWEST_NUMBER
from engine.service.service import Service
from engine.service.visibility import Visibility
from engine.store.database import Connection
from engine.store.rows.versions import DeployRow, StoredFile, VersionContent, VersionNumber
from engine.store.run import fetch, fetch_one


class PastDeploy(msgspec.Struct, frozen=True):
    """A deploy, by which a version of a DAG became the current one, or an undeploy of the version.

    ``changes`` are those from the version current before; None for an undeploy, or if that version
    was removed after its retention period. Their new dataset versions include those caused by
    other DAGs deployed together. ``changed_keys`` are those of the DAG itself. ``by`` is None if
    unknown.
    """

    id: int
    dag: str
    kind: DeployKind
    version: int
    version_id: UUID
    deployed_at: datetime
    by: str | None
    is_current: bool
    changes: DagDiff | None
    changed_keys: tuple[str, ...] = ()


class VersionFile(msgspec.Struct, frozen=True):
    """The YAML file of a DAG version.

    ``is_as_written``: the text is that of the deployed file, with its comments; otherwise it has
    the same content.
    """

    dag: str
    version: int
    version_id: UUID
    is_as_written: bool
    file: str


@requires(Role.READER)
async def history(
    caller: Caller,
    service: Service,
    dag: str | None = None,
    *,
    limit: int = 50,
    before: int = NEWEST_NUMBER,
) -> list[PastDeploy]:
    """List deploys and undeploys of one DAG, or of all, before an id, the newest first.

    Raises UnknownName.
    """
    async with service.snapshot(caller) as (conn, org):
        visible = await service.visibility(caller, conn, org)
        rows = await fetch(
            conn,
            "versions.deploys",
            DeployRow,
            org_id=org.id,
            dag=dag,
            limit=limit,
            before=before,
            hidden=sorted(visible.dags) or None,
        )
        if dag is not None and not rows and before == NEWEST_NUMBER:
            raise _unknown_dag(dag)
        contents = await _contents(conn, rows)
    return [_shown(_past_deploy(row, contents), contents, visible) for row in rows]


@requires(Role.READER)
async def file_of_version(caller: Caller, service: Service, dag: str, version: int) -> VersionFile:
    """Return the file of a version; its deploy makes the version current again.

    Raises UnknownName, InvalidInput for a version without a printable file, or Forbidden if it
    names hidden datasets.
    """
    async with service.snapshot(caller) as (conn, org):
        visible = await service.visibility(caller, conn, org)
        row = await fetch_one(
            conn, "versions.file", StoredFile, org_id=org.id, dag=dag, number=version
        )
        if dag in visible.dags:
            raise _unknown_dag(dag)
        if row is None:
            raise await _unknown_version(conn, org, dag, version)
    compiled = CompiledDag.from_data(row.content)
    if not _sees_all(compiled, visible):
        raise Forbidden(
            f"version {version} of DAG {dag!r} names datasets that are hidden from you: have "
            "someone with their roles, or an admin, show it"
        )
    file = version_file(compiled, row.file)
    return VersionFile(dag, version, row.id, row.file is not None, file)


@dataclass(frozen=True, slots=True)
class _Version:
    dag: CompiledDag
    datasets: Mapping[str, UUID]


async def _contents(conn: Connection, rows: Iterable[DeployRow]) -> dict[UUID, _Version]:
    ids = {id_ for row in rows for id_ in (row.version_id, row.previous_version_id)} - {None}
    found = await fetch(conn, "versions.contents", VersionContent, ids=list(ids))
    return {row.id: _Version(CompiledDag.from_data(row.content), row.datasets) for row in found}


def _changes(before: _Version | None, now: _Version) -> DagDiff:
    """Compare versions; readers of datasets rebuilt by another DAG have new versions as well."""
    changes = diff(before.dag if before else None, now.dag)
    if before is None:
        return changes
    rebuilt = {
        name: changes.regenerated.get(name)
        for name, version in now.datasets.items()
        if before.datasets.get(name, version) != version
    }
    return msgspec.structs.replace(changes, regenerated={**rebuilt, **changes.regenerated})


def _past_deploy(row: DeployRow, contents: Mapping[UUID, _Version]) -> PastDeploy:
    previous = row.previous_version_id
    changes: DagDiff | None = None
    keys: tuple[str, ...] = ()
    if row.kind == DeployKind.DEPLOYED and (previous is None or previous in contents):
        before, now = contents[previous] if previous else None, contents[row.version_id]
        changes = _changes(before, now)
        if before is not None and before.dag.description != now.dag.description:
            keys = ("description",)
    return PastDeploy(
        id=row.id,
        dag=row.dag,
        kind=row.kind,
        version=row.number,
        version_id=row.version_id,
        deployed_at=row.deployed_at,
        by=row.deployed_by,
        is_current=row.is_current,
        changes=changes,
        changed_keys=keys,
    )


def _sees_all(dag: CompiledDag, visible: Visibility) -> bool:
    """Return True if a version of a DAG names no hidden dataset."""
    names = {dataset.name for dataset in dag.datasets}
    read = {name for job in dag.jobs for name in job.input_datasets}
    return visible.dataset_names.isdisjoint(names | read)


def _shown(
    deploy: PastDeploy, contents: Mapping[UUID, _Version], visible: Visibility
) -> PastDeploy:
    """Leave out the changes of a DAG that names hidden datasets."""
    version = contents.get(deploy.version_id)
    is_shown = deploy.dag not in visible.partly_hidden_dags and (
        version is None or _sees_all(version.dag, visible)
    )
    if visible.is_full or is_shown:
        return deploy
    return msgspec.structs.replace(deploy, changes=None, changed_keys=())


def _unknown_dag(dag: str) -> UnknownName:
    return UnknownName(f"DAG {dag!r} was never deployed to this org: see 'knockon history'")


async def _unknown_version(
    conn: Connection, org: OrgContext, dag: str, version: int
) -> UnknownName:
    (newest,) = await fetch(conn, "versions.newest_number", VersionNumber, org_id=org.id, dag=dag)
    if newest.number is None:
        return _unknown_dag(dag)
    return UnknownName(
        f"there is no version {version} of DAG {dag!r}, whose newest is {newest.number}: it was "
        f"never deployed, or removed after its retention period; see 'knockon history {dag}'"
    )
