"""Pause and resume jobs, datasets, or the whole org."""

from collections.abc import Sequence

from engine.errors import InvalidInput
from engine.flow.shared import pauses
from engine.lineage.job_names import find_job
from engine.model.states import PauseKind, Role
from engine.service.caller import Caller, requires
from engine.service.names import dataset_named
from engine.service.service import Service
from engine.store.rows.pauses import Pause, RequestedPause

__all__ = ["Pause", "RequestedPause", "pause", "resume"]


@requires(Role.WRITER)
async def pause(
    caller: Caller,
    service: Service,
    kind: PauseKind,
    name: str | None = None,
    *,
    reason: str | None = None,
) -> RequestedPause:
    """Pause a job, a dataset, or the org, which has no name.

    Tasks of a paused job are planned, but not claimed; running tasks continue. Invalidations of a
    paused dataset or org are stored, but not planned. An earlier pause of the subject stays as it
    is, and is returned. Raises UnknownName, or InvalidInput for a source job.
    """
    subject = _subject(kind, name)
    async with service.transaction(caller) as (conn, org):
        visible = await service.visibility(caller, conn, org)
        lineage = await org.lineage(conn)
        if kind == PauseKind.JOB:
            job = find_job(lineage, subject, visible.job_names)
            subject = job.full_name
            if job.is_source:
                dataset = lineage.dataset(job.outputs[0]).name
                raise InvalidInput(
                    f"the source job {name!r} does not run: pause its dataset with "
                    f"'knockon pause dataset {dataset}'"
                )
        if kind == PauseKind.DATASET:
            dataset_named(lineage, subject, visible)
        return await pauses.pause(conn, org, kind, subject, reason=reason, by=caller.user)


@requires(Role.WRITER)
async def resume(
    caller: Caller, service: Service, kind: PauseKind, name: str | None = None
) -> Pause:
    """End a pause and return it; the work gathered meanwhile continues.

    Raises InvalidInput if the subject is not paused.
    """
    subject = _subject(kind, name)
    async with service.transaction(caller) as (conn, org):
        paused = await pauses.load_pauses(conn, org)
        visible = await service.visibility(caller, conn, org)
        rows = [row for row in paused.rows if visible.sees_pause(row)]
        if kind == PauseKind.JOB:
            subject = _paused_job(rows, subject)
        is_visible = any((row.kind, row.name) == (kind, subject) for row in rows)
        row = await pauses.resume(conn, org, kind, subject) if is_visible else None
    if row is None:
        named = "the org" if kind == PauseKind.ORG else f"{kind} {name!r}"
        raise InvalidInput(f"{named} is not paused: 'knockon status' lists the pauses")
    return row


def _paused_job(paused: Sequence[Pause], name: str) -> str:
    """Return the name under which a job is paused; the job may be deployed no longer.

    Raises InvalidInput if jobs of several DAGs with this name are paused.
    """
    rows = [row.name for row in paused if row.kind == PauseKind.JOB]
    names = [name] if name in rows else [each for each in rows if each.endswith(f".{name}")]
    if len(names) > 1:
        raise InvalidInput(
            f"jobs {name!r} of several DAGs are paused: give one of {', '.join(map(repr, names))}"
        )
    return names[0] if names else name


def _subject(kind: PauseKind, name: str | None) -> str:
    if (name is None) != (kind == PauseKind.ORG):
        needed = "takes no name" if name else f"needs the name of a {kind}"
        raise InvalidInput(f"a pause of kind {str(kind)!r} {needed}")
    return name or ""
