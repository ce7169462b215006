"""Where a flow acts: an org, and its lineage as of the transaction that asks."""

from dataclasses import dataclass, field
from uuid import UUID

from engine.errors import InvalidDag
from engine.lineage.graph import Lineage
from engine.store.database import Connection
from engine.store.lineage import load_lineage
from engine.store.orgs import lineage_epoch


@dataclass(slots=True)
class Scene:
    """An org with its lineage, which is read again only when a deploy has moved the epoch.

    Transactions that see different epochs may ask at once: epoch and lineage change hands together.
    """

    org_id: UUID
    _cached: tuple[int, Lineage] | None = field(default=None, init=False)

    async def lineage(self, conn: Connection) -> Lineage:
        """Return the lineage that the transaction of ``conn`` sees."""
        epoch, cached = await lineage_epoch(conn, self.org_id), self._cached
        while cached is None or cached[0] != epoch:
            found = await self._read(conn, epoch)
            before, epoch = epoch, await lineage_epoch(conn, self.org_id)
            cached = (before, found) if found is not None else None
        self._cached = cached
        return cached[1]

    async def _read(self, conn: Connection, epoch: int) -> Lineage | None:
        """The lineage; None where a deploy that commits between the statements tore it apart."""
        try:
            return await load_lineage(conn, self.org_id)
        except (KeyError, InvalidDag):
            if await lineage_epoch(conn, self.org_id) == epoch:
                raise
            return None

    @property
    def epoch(self) -> int:
        """The epoch of the lineage that was last read; -1 before the first."""
        return self._cached[0] if self._cached else -1
