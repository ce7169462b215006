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
    """An org with its lineage, which is read again only when a deploy has moved the epoch."""

    org_id: UUID
    _epoch: int = field(default=-1, init=False)
    _lineage: Lineage | None = field(default=None, init=False)

    async def lineage(self, conn: Connection) -> Lineage:
        """Return the lineage that the transaction of ``conn`` sees."""
        epoch = await lineage_epoch(conn, self.org_id)
        while self._lineage is None or epoch != self._epoch:
            self._lineage = await self._read(conn, epoch)
            self._epoch, epoch = epoch, await lineage_epoch(conn, self.org_id)
        return self._lineage

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
        return self._epoch
