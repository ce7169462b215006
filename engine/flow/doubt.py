"""Doubt: what somebody has decided not to make again stays as it is, and nobody has said how.

A later run for another reason takes in what that one would have: it is told to all who read it.
"""

from collections.abc import Iterable
from uuid import UUID

from engine.lineage.graph import Lineage
from engine.store.database import Connection
from engine.store.run import execute


async def doubt(
    conn: Connection, lineage: Lineage, left: Iterable[tuple[UUID, Iterable[str]]]
) -> None:
    """Mark the existing partitions of jobs, by job, that are not made again for now."""
    rows = [
        (output, lineage.dataset(output).version, key)
        for job, keys in left
        for key in keys
        for output in lineage.job(job).outputs
    ]
    datasets, versions, keys = (
        (list(each) for each in zip(*rows, strict=True)) if rows else ([],) * 3
    )
    await execute(conn, "partitions.doubt", datasets=datasets, versions=versions, keys=keys)
