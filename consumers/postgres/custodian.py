"""Repair attachments whose tables have changed underneath, or report them.

A table can be swapped, restored or restructured without any trigger firing. Each attachment is
compared with its table at every heartbeat. Where the consumer's role may, the table is attached
again, and whatever may have been missed is logged in the same transaction. Where it may not, the
dataset counts as changed, once for each new state of the table, and the drift is reported until
somebody attaches the table again.
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
from consumers.postgres.connection import Guard, connect
from consumers.postgres.readers import set_widened, widened
from consumers.postgres.triggers import Tenant
from engine.errors import KnockonError
from engine.monitor.metrics import SOURCE_DRIFT

_log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class Drifted:
    """An attachment that is not as its table is; `state` identifies the table's present state."""

    stored: Stored
    drift: Drift
    state: str

    @property
    def name(self) -> str:
        """The attachment, as a key."""
        return f"{self.stored.dataset} {self.stored.relation}"

    @property
    def report(self) -> str:
        """The drift in words."""
        return f"{self.stored.table} ({self.stored.dataset}) {', '.join(self.drift.reasons)}"


async def find_drifted(connection: AsyncConnection[Any], org: str) -> Sequence[Drifted]:
    """Compare each attachment of an org with its table."""
    found = []
    for stored in await stored_attachments(connection, org):
        shape = await read_shape(connection, org, stored.dataset, stored.relation)
        drift = find_drift(stored, shape)
        if drift is not None:
            state = f"{shape} {stored.named} {stored.current_name} {stored.unannounced}"
            found.append(Drifted(stored, drift, sha256(state.encode()).hexdigest()[:16]))
    return found


Widen = Callable[[Drifted], Awaitable[None]]
"""Takes a dataset for changed, durably."""


class Custodian:
    """Looks after the attachments of one org in one source."""

    def __init__(
        self,
        source: AsyncConnection[Any],
        source_url: str,
        tenant: Tenant,
        answering: Guard,
        widen: Widen,
    ) -> None:
        self._source = source
        self._url = source_url
        self._tenant = tenant
        self._answering = answering
        self._widen = widen
        self._reported: frozenset[str] = frozenset()

    async def look(self) -> None:
        """Compare, repair and report. Raises what reading the source raises."""
        with self._answering():
            drifted = await find_drifted(self._source, self._tenant.org)
        left = [each for each in drifted if not await self._is_repaired(each)]
        SOURCE_DRIFT.set(len(left))
        self._report(left)
        await self._widen_once(left)

    async def _is_repaired(self, drifted: Drifted) -> bool:
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
        _log.warning("table changed underneath, attached again", table=drifted.report)
        return True

    def _report(self, left: Sequence[Drifted]) -> None:
        for each in left:
            if each.state not in self._reported:
                _log.error(
                    "table changed underneath, its changes may be missed: attach it again",
                    table=each.report,
                )
        self._reported = frozenset(each.state for each in left)

    async def _widen_once(self, left: Sequence[Drifted]) -> None:
        """Take each dataset for changed, once for each state of its table."""
        if not left:
            return
        with self._answering():
            before = await widened(self._source, self._tenant.consumer)
        for each in left:
            if _is_missing_changes(each.drift) and before.get(each.name) != each.state:
                await self._widen(each)
        now = {each.name: each.state for each in left}
        if now != before:
            with self._answering():
                await set_widened(self._source, self._tenant.consumer, now)


def _is_missing_changes(drift: Drift) -> bool:
    return bool(drift.is_total or drift.columns or drift.new_parts)
