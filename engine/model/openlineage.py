"""What Knockon and OpenLineage call each other's things."""

from uuid import UUID

PRODUCER = "urn:knockon:worker"
"""What Knockon calls itself, so that it knows its own events when they come back."""

_ATTEMPTS = 0xFFFF


def run_id(task: UUID, attempt: int) -> UUID:
    """The id of the run that an attempt is: the task's, with the attempt in its last 16 bits.

    So the task is found by it. Ids of two tasks do not differ in these bits alone: in front of them
    are a time and a counter (RFC 9562, version 7).
    """
    return UUID(int=task.int & ~_ATTEMPTS | attempt & _ATTEMPTS)


def tasks_of(run: UUID) -> tuple[UUID, UUID]:
    """The first and the last id that the task of a run can have."""
    return UUID(int=run.int & ~_ATTEMPTS), UUID(int=run.int | _ATTEMPTS)
