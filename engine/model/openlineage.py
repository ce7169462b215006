"""Identifiers that Knockon uses in OpenLineage events."""

from uuid import UUID

PRODUCER = "urn:knockon:worker"
"""The `producer` of Knockon's own events, so that consumers of a shared feed can ignore them."""

_ATTEMPTS = 0xFFFF


def run_id(task: UUID, attempt: int) -> UUID:
    """The run id of an attempt: the task's id with the attempt in its last 16 bits.

    The mapping is reversible (`tasks_of`) because no two task ids differ only in these bits, which
    follow the timestamp and a counter in a version 7 UUID (RFC 9562).
    """
    return UUID(int=task.int & ~_ATTEMPTS | attempt & _ATTEMPTS)


def tasks_of(run: UUID) -> tuple[UUID, UUID]:
    """Return the lowest and the highest possible id of a run's task."""
    return UUID(int=run.int & ~_ATTEMPTS), UUID(int=run.int | _ATTEMPTS)
