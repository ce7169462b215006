"""Work for all orgs of an installation, including orgs created later."""

import asyncio
from collections.abc import Callable, Coroutine, Mapping
from typing import Any
from uuid import UUID

import structlog

from engine.errors import OutdatedCode
from engine.flow.shared.org_context import OrgContext
from engine.loops.periodic import pause, run_periodically
from engine.monitor.metrics import LOOP_ERRORS
from engine.store.database import Database
from engine.store.rows.orgs import ListedOrg
from engine.store.run import fetch

__all__ = ["ListedOrg", "OrgList", "Work", "for_each_org", "load_orgs"]

_log = structlog.get_logger(__name__)
_REFRESH_SECONDS = 2.0
_PAUSE_SECONDS = 5.0
Work = Callable[[asyncio.Event], Coroutine[Any, Any, None]]
"""Work until an event is set."""


class OrgList:
    """The orgs of an installation, with their lineages, refreshed every two seconds."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._contexts: dict[UUID, OrgContext] = {}

    @property
    def contexts(self) -> list[OrgContext]:
        """Return the orgs, in the order in which they were found."""
        return list(self._contexts.values())

    async def run(self, stop: asyncio.Event) -> None:
        """Refresh the list until ``stop`` is set."""
        await run_periodically("orgs", self.refresh, stop, _REFRESH_SECONDS)

    async def refresh(self) -> bool:
        """Read the orgs; return False, since nothing is left to be read."""
        found = await load_orgs(self._database)
        for org_id in self._contexts.keys() - found.keys():
            del self._contexts[org_id]
        for org_id in found:
            self._contexts.setdefault(org_id, OrgContext(org_id))
        return False


def for_each_org(database: Database, start: Callable[[ListedOrg], Work]) -> Work:
    """Return the work that ``start`` returns for each org, for all orgs at once.

    It begins within two seconds of the creation of an org, and ends after its removal. After an
    error, the work for its org begins again; outdated code ends all work.
    """

    async def run(stop: asyncio.Event) -> None:
        async with asyncio.TaskGroup() as group:
            working: dict[UUID, asyncio.Event] = {}

            async def refresh() -> bool:
                found = await load_orgs(database)
                for org_id in working.keys() - found.keys():
                    working.pop(org_id).set()
                for org_id in found.keys() - working.keys():
                    _log.info("serving an org", org=found[org_id].slug)
                    end = working[org_id] = asyncio.Event()
                    group.create_task(_work_for(found[org_id], start, end))
                return False

            await run_periodically("orgs", refresh, stop, _REFRESH_SECONDS)
            for end in working.values():
                end.set()

    return run


async def _work_for(org: ListedOrg, start: Callable[[ListedOrg], Work], end: asyncio.Event) -> None:
    """Work for an org until ``end`` is set, again after errors. Raises OutdatedCode."""
    while not end.is_set():
        try:
            await start(org)(end)
        except Exception as error:
            if _contains(error, OutdatedCode):
                raise
            LOOP_ERRORS.labels("orgs").inc()
            _log.exception("the work for an org failed, and begins again", org=org.slug)
            await pause(end, _PAUSE_SECONDS)
        else:
            return


def _contains(error: Exception, kind: type[Exception]) -> bool:
    if isinstance(error, ExceptionGroup):
        return error.subgroup(kind) is not None
    return isinstance(error, kind)


async def load_orgs(database: Database) -> Mapping[UUID, ListedOrg]:
    """Return all orgs, the oldest first."""
    async with database.connection() as conn:
        return {row.id: row for row in await fetch(conn, "orgs.all", ListedOrg)}
