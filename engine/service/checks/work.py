"""Checks of an org's work: deployed DAGs, backlog, failures, workers."""

from engine.flow.shared.org_context import OrgContext
from engine.flow.shared.quotas import has_room_to_plan
from engine.model.references import literal_secrets
from engine.model.states import TaskStatus
from engine.service.checks.check import Check, Checks, CheckVerdict, judge
from engine.service.queries.status import Status, load_status
from engine.service.visibility import EVERYTHING, Visibility
from engine.store.database import Connection
from engine.store.rows.views import ExpiredLeases, SuspectedSecret
from engine.store.run import fetch
from engine.wording import counted, some, span

_LONGEST_OPEN_SECONDS = 60.0


async def check_work(conn: Connection, org: OrgContext, visible: Visibility = EVERYTHING) -> Checks:
    """Check deployed DAGs, and unfinished, failed and abandoned work."""
    view = await load_status(conn, org, visible)
    yield _deployed(view)
    yield _planning(view, has_room=await has_room_to_plan(conn, org))
    yield _set_aside(view)
    yield await _leases(conn, org)
    yield _workers(view)
    yield _failures(view)
    yield _letters(view)
    yield await _secrets(conn, org)


def _deployed(view: Status) -> Check:
    names = ", ".join(dag.name for dag in view.dags) or "none"
    return judge("DAGs", bool(view.dags), names, "deploy one: knockon deploy FILE")


def _planning(view: Status, *, has_room: bool) -> Check:
    is_paused = view.open_invalidations == view.held_back.invalidations
    age = 0.0 if is_paused else view.oldest_seconds or 0.0
    oldest = f", the oldest {span(age)} old" if age else ""
    return judge(
        "planning",
        age < _LONGEST_OPEN_SECONDS,
        f"{counted(view.open_invalidations, 'unplanned invalidation')}{oldest}",
        "run 'knockon engine', or check its log"
        if has_room
        else "the org has reached its quota of unfinished tasks: wait for the end of tasks, cancel "
        "some, or have an operator raise it with 'knockon org set unfinished_tasks'",
    )


def _set_aside(view: Status) -> Check:
    return judge(
        "set aside",
        view.set_aside_total == 0,
        f"{counted(view.set_aside_total, 'invalidation')} set aside after planning errors",
        "see 'knockon invalidations --set-aside', fix the cause, then "
        "'knockon invalidations replay --all'",
    )


async def _leases(conn: Connection, org: OrgContext) -> Check:
    (leases,) = await fetch(conn, "views.expired", ExpiredLeases, org_id=org.id)
    expired = leases.tasks
    return judge(
        "leases",
        expired == 0,
        f"{counted(expired, 'task')} long past the lease",
        "run 'knockon engine', to have other workers run them",
    )


def _workers(view: Status) -> Check:
    queued = view.tasks.get(TaskStatus.QUEUED, 0)
    return judge(
        "workers",
        queued <= view.held_back.tasks or bool(view.workers),
        f"{len(view.workers)} active lately, {counted(queued, 'task')} queued",
        "run 'knockon worker'",
    )


def _failures(view: Status) -> Check:
    failed = view.tasks.get(TaskStatus.FAILED, 0)
    return judge(
        "tasks",
        failed == 0,
        f"{failed:,} failed",
        "see 'knockon tasks --status failed', fix the cause, then 'knockon tasks retry --all'",
    )


def _letters(view: Status) -> Check:
    return judge(
        "dead letters",
        view.dead_letters == 0,
        f"{view.dead_letters:,} open",
        "see 'knockon dead-letters', fix the cause, then 'knockon dead-letters replay --all'",
    )


async def _secrets(conn: Connection, org: OrgContext) -> Check:
    """Check stored versions for literal secrets, which deploys of earlier releases accepted."""
    rows = await fetch(conn, "views.suspected_secrets", SuspectedSecret, org_id=org.id)
    holding = {
        (row.dag_name, row.dag_version_id): row.is_current
        for row in rows
        if any(literal_secrets({"source": row.source, "config": row.config}))
    }
    current = sorted({name for (name, _), is_current in holding.items() if is_current})
    others = sorted({name for name, _ in holding} - {*current})
    if not holding:
        return Check("secrets", CheckVerdict.OK, "no stored version of a DAG contains a secret")
    deploy = f"deploy {some(current)} with ${{NAME}} instead, and " if current else ""
    detail = f"{counted(len(holding), 'stored version')} of {some([*current, *others])}"
    remedy = f"{deploy}change the secrets, because stored versions keep them"
    return Check("secrets", CheckVerdict.WARN, f"{detail} with a literal secret", remedy)
