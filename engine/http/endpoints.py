"""All resources of the API, and their endpoints."""

from typing import Final

from engine.http.resource import PREFIX, Endpoint, Resource
from engine.http.routes.dags import dags, deploys
from engine.http.routes.datasets import audits, datasets, lineage, stale
from engine.http.routes.dead_letters import letters
from engine.http.routes.events import events
from engine.http.routes.ingestion import run_events, sources
from engine.http.routes.invalidations import invalidations
from engine.http.routes.jobs import backfills, jobs
from engine.http.routes.keys import keys
from engine.http.routes.login import login
from engine.http.routes.me import me
from engine.http.routes.org import checks, org, state, streams
from engine.http.routes.pauses import pauses
from engine.http.routes.plans import plans
from engine.http.routes.roles import roles
from engine.http.routes.schedules import schedules
from engine.http.routes.search import searches
from engine.http.routes.sessions import logout, sessions
from engine.http.routes.tasks import tasks
from engine.http.routes.users import changes, people
from engine.http.routes.webhooks import webhooks
from engine.http.routes.worker_tasks import worker_tasks

__all__ = ["PREFIX", "RESOURCES", "endpoints"]

RESOURCES: Final[tuple[Resource, ...]] = (
    me,
    login,
    logout,
    sessions,
    org,
    state,
    streams,
    checks,
    people,
    roles,
    keys,
    changes,
    dags,
    deploys,
    jobs,
    datasets,
    lineage,
    searches,
    stale,
    audits,
    invalidations,
    schedules,
    sources,
    run_events,
    plans,
    worker_tasks,
    tasks,
    backfills,
    pauses,
    letters,
    webhooks,
    events,
)


def endpoints() -> list[Endpoint]:
    """Return the endpoints of all resources, in the order of the documentation."""
    return [endpoint for resource in RESOURCES for endpoint in resource.endpoints]
