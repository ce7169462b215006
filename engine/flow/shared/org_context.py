"""Context of an operation: an org, and its lineage as of the current transaction."""

from dataclasses import dataclass, field
from uuid import UUID

from engine.errors import InvalidInput
from engine.lineage.graph import Lineage
from engine.store.database import Connection
from engine.store.lineage import load_lineage
from engine.store.orgs import lineage_epoch


@dataclass(slots=True)
class OrgContext:
    """Org with its lineage, which is reloaded only after a deploy has moved the epoch.

    Safe for concurrent transactions at different epochs: epoch and lineage are replaced together.
    """

    id: UUID
    _cached: tuple[int, Lineage] | None = field(default=None, init=False)

    async def lineage(self, conn: Connection) -> Lineage:
        """Return the lineage visible to the transaction of ``conn``."""
        epoch, cached = await lineage_epoch(conn, self.id), self._cached
        while cached is None or cached[0] != epoch:
            loaded = await self._read(conn, epoch)
            before, epoch = epoch, await lineage_epoch(conn, self.id)
            cached = (before, loaded) if loaded is not None else None
        self._cached = cached
        return cached[1]

    async def _read(self, conn: Connection, epoch: int) -> Lineage | None:
        """Load the lineage; None if a deploy between the statements made it inconsistent."""
        try:
            return await load_lineage(conn, self.id)
        except (KeyError, InvalidInput):
            if await lineage_epoch(conn, self.id) == epoch:
                raise
            return None

    @property
    def epoch(self) -> int:
        """Epoch of the lineage read last; -1 before the first read."""
        return self._cached[0] if self._cached else -1
