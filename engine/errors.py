"""All errors that Knockon raises on purpose.

A message states the problem, the place and the remedy. Programs distinguish errors by
``code``, which stays the same when a class is renamed; docs/reference/errors.md lists the codes.
"""

from typing import ClassVar


class KnockonError(Exception):
    """Base class of all errors; the command line prints the message and exits with 1."""

    code: ClassVar[str] = "error"


class InvalidInput(KnockonError):
    """The request cannot be carried out as given."""

    code = "invalid_input"


class InvalidDag(InvalidInput):
    """A DAG file is malformed, or contradicts itself or the deployed DAGs."""

    code = "invalid_dag"


class InvalidPartition(InvalidInput):
    """The dataset cannot have this partition key or range."""

    code = "invalid_partition"


class TooManyPartitions(InvalidPartition):
    """A set of partitions is too large to be listed or combined."""

    code = "too_many_partitions"


class TooCostlyToPlan(InvalidInput):
    """Planning the invalidation would exceed the limits of the planner."""

    code = "too_costly_to_plan"


class TooCostly(InvalidInput):
    """The request was ended, because it takes too much time or memory."""

    code = "too_costly"


class InvalidMapping(InvalidInput):
    """A partition mapping does not apply between its two datasets."""

    code = "invalid_mapping"


class InvalidFilter(InvalidInput):
    """A row filter names an unknown column, operator or type."""

    code = "invalid_filter"


class InvalidEvent(InvalidInput):
    """A message cannot be read as a source event."""

    code = "invalid_event"


class IdempotencyConflict(InvalidInput):
    """An earlier request with other content used the same idempotency key."""

    code = "idempotency_conflict"


class UnknownName(InvalidInput):
    """There is no dataset, job, org, task or plan of this name or id."""

    code = "unknown_name"


class PositionExpired(InvalidInput):
    """The events after this position were removed after their retention period."""

    code = "position_expired"


class Unauthenticated(KnockonError):
    """The request has no valid key."""

    code = "unauthenticated"


class Forbidden(KnockonError):
    """The role of the caller, or the scope of the key, does not permit the operation."""

    code = "forbidden"


class QuotaExceeded(KnockonError):
    """The work would exceed a quota of the org, which only operators change."""

    code = "quota_exceeded"


class TooManyEvents(KnockonError):
    """The org has sent more events than its quota permits; send this one later."""

    code = "too_many_events"

    def __init__(self, message: str, seconds: float = 1.0) -> None:
        super().__init__(message)
        self.seconds = seconds


class LeaseLost(KnockonError):
    """The lease token is no longer the task's current one; stop working on the task."""

    code = "lease_lost"


class PositionLost(KnockonError):
    """Another consumer has moved the position of this stream; resume from the stored one."""

    code = "position_lost"


class ServiceUnavailable(KnockonError):
    """A database or broker cannot be reached."""

    code = "service_unavailable"


class OutdatedCode(KnockonError):
    """The database schema requires newer code than the code of this process."""

    code = "outdated_code"


class SchemaInUse(KnockonError):
    """A migration waited in vain for locks, or for processes with older code to stop."""

    code = "schema_in_use"


class TaskFailed(KnockonError):
    """The code of a job failed; the attempt counts."""

    code = "task_failed"


class InvalidOutput(TaskFailed):
    """The rows of a job cannot be its output; the task is not repeated on the same data."""

    code = "invalid_output"
