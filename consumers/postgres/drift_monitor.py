"""Detection and repair of attachments whose tables have drifted.

A table can be swapped, restored or restructured without firing triggers. Each attachment is
compared with its table at every heartbeat. If the consumer's role has the privileges, the table is
attached again, and changes that may have been missed are logged in the same transaction. Otherwise
the dataset counts as changed, once for each new state of the table, and the drift is reported until
the table is attached again.
"""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

import psycopg
import structlog
from psycopg import AsyncConnection

from consumers.postgres.attach import reattach
from consumers.postgres.attachments import (
    Drift,
    Stored,
    find_drift,
    read_shape,
    stored_attachments,
)
from consumers.postgres.connection import TimeLimit, connect
from consumers.postgres.readers import set_widened, widened
from consumers.postgres.triggers import Tenant
from engine.errors import KnockonError
from engine.monitor.metrics import SOURCE_DRIFT

_log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class Drifted:
    """An attachment whose table has drifted; `state` identifies the table's current state."""

    stored: Stored
    drift: Drift
    state: str

    @property
    def name(self) -> str:
        """The key of the attachment."""
        return f"{self.stored.dataset} {self.stored.relation}"

    @property
    def report(self) -> str:
        """A description of the drift for messages."""
        return f"{self.stored.table} ({self.stored.dataset}) {', '.join(self.drift.reasons)}"


async def find_drifted(connection: AsyncConnection[Any], org: str) -> Sequence[Drifted]:
    """Compare each attachment of an org with its table."""
    drifted = []
    for stored in await stored_attachments(connection, org):
        shape = await read_shape(connection, org, stored.dataset, stored.relation)
        drift = find_drift(stored, shape)
        if drift is not None:
            state = f"{shape} {stored.named} {stored.current_name} {stored.unannounced}"
            drifted.append(Drifted(stored, drift, sha256(state.encode()).hexdigest()[:16]))
    return drifted


Widen = Callable[[Drifted], Awaitable[None]]
"""Durably marks the dataset of a drifted attachment as changed."""


class DriftMonitor:
    """Repairs the attachments of one org in one source, and reports those beyond repair."""

    def __init__(
        self,
        source: AsyncConnection[Any],
        source_url: str,
        tenant: Tenant,
        time_limit: TimeLimit,
        widen: Widen,
    ) -> None:
        self._source = source
        self._url = source_url
        self._tenant = tenant
        self._time_limit = time_limit
        self._widen = widen
        self._reported: frozenset[str] = frozenset()

    async def repair(self) -> None:
        """Compare all attachments with their tables, repair and report. Raises psycopg's errors."""
        with self._time_limit():
            drifted = await find_drifted(self._source, self._tenant.org)
        remaining = [item for item in drifted if not await self._try_repair(item)]
        SOURCE_DRIFT.set(len(remaining))
        self._report(remaining)
        await self._widen_once(remaining)

    async def _try_repair(self, drifted: Drifted) -> bool:
        if not drifted.drift.can_attach:
            return False
        try:
            async with await connect(self._url) as own:
                await reattach(own, self._tenant, drifted.stored)
        except (psycopg.Error, KnockonError) as error:
            if drifted.state not in self._reported:
                _log.error(
                    "cannot attach again", table=drifted.stored.table, why=str(error).strip()
                )
            return False
        _log.warning("table has drifted and was attached again", table=drifted.report)
        return True

    def _report(self, remaining: Sequence[Drifted]) -> None:
        for drifted in remaining:
            if drifted.state not in self._reported:
                _log.error(
                    "table has drifted and changes may be missed: attach it again",
                    table=drifted.report,
                )
        self._reported = frozenset(drifted.state for drifted in remaining)

    async def _widen_once(self, remaining: Sequence[Drifted]) -> None:
        """Mark each dataset as changed, once for each state of its table."""
        if not remaining:
            return
        with self._time_limit():
            before = await widened(self._source, self._tenant.consumer)
        for drifted in remaining:
            if drifted.drift.misses_changes and before.get(drifted.name) != drifted.state:
                await self._widen(drifted)
        now = {drifted.name: drifted.state for drifted in remaining}
        if now != before:
            with self._time_limit():
                await set_widened(self._source, self._tenant.consumer, now)
