"""Engines and workers for the org of a session, or for all orgs."""

from collections.abc import Mapping

from engine.cli.runtime.session import Session
from engine.loops.engine import Engine, engines_of_all_orgs
from engine.loops.orgs import OrgList, Work
from engine.worker.runtimes import Runtime
from engine.worker.worker import Worker


def engine_work(session: Session) -> Work:
    """Return the work of an engine, for each org if the session serves all."""
    if session.org.is_all:
        return engines_of_all_orgs(session.database, session.settings)
    return Engine(session.database, session.org_context, session.settings).run


def worker_for(session: Session, runtimes: Mapping[str, Runtime] | None = None) -> Worker:
    """Return a worker, whose slots all orgs share if the session serves all."""
    orgs = OrgList(session.database) if session.org.is_all else session.org_context
    return Worker(session.database, orgs, session.settings, runtimes=runtimes)
