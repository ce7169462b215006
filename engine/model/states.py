"""Closed vocabularies: strategies, states, outcomes, kinds and roles.

Each equals a CHECK constraint of the schema, compared by a test. Members are strings, so that rows
and JSON need no conversion.
"""

from enum import StrEnum
from typing import Final


class Activation(StrEnum):
    """The event that runs a job."""

    SOURCE = "source"
    REACTIVE = "reactive"
    MANUAL = "manual"


class ExecutionStrategy(StrEnum):
    """Division of a job's output into runs."""

    PER_PARTITION = "PerPartition"
    PER_UPDATE = "PerUpdate"
    FULL = "Full"


class UpdateStrategy(StrEnum):
    """Treatment of the rows that an output already has."""

    REPLACE = "replace"
    APPEND = "append"


class TaskStatus(StrEnum):
    """Status of a task."""

    BLOCKED = "blocked"
    QUEUED = "queued"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    SKIPPED = "skipped"
    CANCELED = "canceled"


UNSTARTED_STATUSES: Final = (TaskStatus.BLOCKED, TaskStatus.QUEUED)
"""Statuses of tasks that a plan joins: at most one per block of a job."""

STARTABLE_STATUSES: Final = (TaskStatus.QUEUED, TaskStatus.RUNNING)
"""Statuses of tasks that run now or as soon as a worker is free."""

PENDING_STATUSES: Final = (TaskStatus.BLOCKED, TaskStatus.QUEUED, TaskStatus.RUNNING)
"""Statuses of tasks that end without any decision by a person."""

UNFINISHED_STATUSES: Final = (*PENDING_STATUSES, TaskStatus.FAILED)
"""Statuses of tasks with outstanding work: a failed task can be retried."""

FINISHED_STATUSES: Final = (TaskStatus.SUCCEEDED, TaskStatus.SKIPPED, TaskStatus.CANCELED)
"""Statuses of tasks that never run again."""


class AttemptOutcome(StrEnum):
    """Outcome of an attempt at a task."""

    SUCCEEDED = "succeeded"
    FAILED = "failed"
    LEASE_EXPIRED = "lease_expired"
    CANCELED = "canceled"


class EventKind(StrEnum):
    """Kind of an event in the feed."""

    INVALIDATION_RECORDED = "invalidation.recorded"
    INVALIDATION_SET_ASIDE = "invalidation.set_aside"
    PLAN_PENDING_APPROVAL = "plan.pending_approval"
    PLAN_APPLIED = "plan.applied"
    PLAN_REJECTED = "plan.rejected"
    TASK_STARTED = "task.started"
    TASK_SUCCEEDED = "task.succeeded"
    TASK_SKIPPED = "task.skipped"
    TASK_ATTEMPT_FAILED = "task.attempt_failed"
    TASK_FAILED = "task.failed"
    TASK_RETRIED = "task.retried"
    TASK_CANCELED = "task.canceled"
    DAG_DEPLOYED = "dag.deployed"
    DAG_UNDEPLOYED = "dag.undeployed"
    DEAD_LETTER_RECORDED = "dead_letter.recorded"
    PARTITION_LOST = "partition.lost"


class Receiver(StrEnum):
    """Receiver of notifications."""

    WEBHOOK = "webhook"
    ALERTMANAGER = "alertmanager"
    APPRISE = "apprise"


AWAITED_KINDS: Final = (
    EventKind.TASK_FAILED,
    EventKind.PLAN_PENDING_APPROVAL,
    EventKind.INVALIDATION_SET_ASIDE,
    EventKind.DEAD_LETTER_RECORDED,
    EventKind.PARTITION_LOST,
)
"""The events after which work waits for a person."""
DECIDED_KINDS: Final = (
    EventKind.TASK_RETRIED,
    EventKind.TASK_CANCELED,
    EventKind.PLAN_APPLIED,
    EventKind.PLAN_REJECTED,
)
"""The events after which it no longer does."""


class PlanState(StrEnum):
    """State of a plan."""

    PROPOSED = "proposed"
    PENDING_APPROVAL = "pending_approval"
    APPLIED = "applied"
    REJECTED = "rejected"


class InvalidationOutcome(StrEnum):
    """Outcome of an invalidation; an open one has an outcome if it waits for a person."""

    PLANNED = "planned"
    AFFECTS_NOTHING = "affects_nothing"
    UNCHANGED = "unchanged"
    NOT_CURRENT = "not_current"
    PENDING_APPROVAL = "pending_approval"
    REJECTED = "rejected"
    SET_ASIDE = "set_aside"


class Reason(StrEnum):
    """Reason of an event, given by the person or system that reports it."""

    CHANGE = "change"
    ARRIVAL = "arrival"
    CORRECTION = "correction"
    REWRITTEN = "rewritten"
    MANUAL = "manual"
    SCHEMA_CHANGE = "schema_change"
    DEFINITION_CHANGE = "definition_change"
    SCHEDULE = "schedule"


class ScopeKind(StrEnum):
    """Kind of the scope of an invalidation."""

    DATASET = "dataset"
    PARTITION = "partition"
    ROW_RANGE = "row_range"


class StaleDecisionKind(StrEnum):
    """Decision to leave a partition stale."""

    CANCELED = "canceled"
    REJECTED = "rejected"


class DeployKind(StrEnum):
    """Kind of an entry in the history of deploys."""

    DEPLOYED = "deployed"
    UNDEPLOYED = "undeployed"


class PauseKind(StrEnum):
    """Kind of a paused subject."""

    JOB = "job"
    DATASET = "dataset"
    ORG = "org"


class Role(StrEnum):
    """Role of a user in an org, with the rights of all earlier roles."""

    READER = "reader"
    WRITER = "writer"
    ADMIN = "admin"

    def includes(self, other: "Role") -> bool:
        """Return true if this role has all rights of the other."""
        order = list(Role)
        return order.index(self) >= order.index(other)


class GrantSource(StrEnum):
    """Origin of a role: granted by an admin, or by the groups of the identity provider."""

    MANUAL = "manual"
    GROUPS = "groups"


class KeyScope(StrEnum):
    """Operations permitted by a key of a user, as far as the role of the user permits them.

    ``api``: all; ``read``: those that change nothing; ``ingest``: the sending of events;
    ``worker``: the claim and the completion of tasks.
    """

    API = "api"
    READ = "read"
    INGEST = "ingest"
    WORKER = "worker"
