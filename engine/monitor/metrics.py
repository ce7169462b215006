"""Everything that a process counts and times itself, by Prometheus' conventions.

It is counted where it is timed, in loops, workers and consumers: never in the core, never within a
transaction. The name of the org is put on when the metrics are read (`exposition`).
"""

from prometheus_client import Counter, Gauge, Histogram, disable_created_metrics

disable_created_metrics()  # type: ignore[no-untyped-call]

_QUICK = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
_LONG = (0.01, 0.05, 0.1, 0.5, 1, 5, 15, 60, 300, 900, 3600, 14400)
_SIZES = (0, 1, 10, 100, 1_000, 10_000, 100_000)

EVENTS_RECEIVED = Counter(
    "knockon_events_received_total",
    "Events that were understood and taken in.",
    ["transport", "topic"],
)
EVENTS_REJECTED = Counter(
    "knockon_events_rejected_total",
    "Deliveries that could not be used and went to the dead letters.",
    ["transport", "topic"],
)
EVENTS_WIDENED = Counter(
    "knockon_events_widened_total",
    "Events that were taken to say more than may have changed.",
    ["transport"],
)
UNNAMED_OUTPUT_RUNS = Counter(
    "knockon_openlineage_runs_without_outputs_total",
    "Runs whose last event did not name outputs that an earlier one had announced.",
)
INVALIDATIONS_WRITTEN = Counter(
    "knockon_invalidations_written_total",
    "Invalidations written, after equal and covered ones were joined.",
    ["transport"],
)
INGEST_SECONDS = Histogram(
    "knockon_ingest_seconds",
    "The transaction that writes one batch of events.",
    ["transport"],
    buckets=_QUICK,
)

KAFKA_LAG = Gauge(
    "knockon_kafka_lag_messages",
    "Messages between the ledger's position and the end of a partition.",
    ["topic", "partition"],
)
CHANGE_LOG_ROWS = Gauge(
    "knockon_change_log_unread_rows",
    "Rows of a source's change log that a reader has not taken in, by their ids.",
    ["reader"],
)
CHANGE_LOG_SECONDS = Gauge(
    "knockon_change_log_unread_seconds",
    "Age of the oldest row of a source's change log that a reader has not taken in.",
    ["reader"],
)
SOURCE_QUEUE_USAGE = Gauge(
    "knockon_source_notification_queue_usage_ratio",
    "Used part of the NOTIFY queue of the source database.",
)
SOURCE_DRIFT = Gauge(
    "knockon_source_drifted_tables",
    "Attached tables that have changed underneath and could not be attached again.",
)
SOURCE_INTERRUPTIONS = Counter(
    "knockon_source_interruptions_total",
    "Times that reading the change log was interrupted and begun again.",
)

INVALIDATIONS_PLANNED = Counter(
    "knockon_invalidations_planned_total", "Invalidations that a planning has taken."
)
PLANS = Counter("knockon_plans_total", "Plannings, by what came of them.", ["outcome"])
PLANNING_SECONDS = Histogram(
    "knockon_planning_seconds", "The transaction that plans some invalidations.", buckets=_QUICK
)
PLAN_TASKS = Histogram(
    "knockon_plan_tasks", "Tasks that an applied plan made or joined.", buckets=_SIZES
)
AUDITED_PARTITIONS = Gauge(
    "knockon_audited_partitions",
    "Stale partitions in the last audit: in hand, left by decision, or lost.",
    ["verdict"],
)
AUDIT_LOST = Counter(
    "knockon_audit_lost_total", "Stale partitions that nothing led to, and that an audit mended."
)
TASKS_REAPED = Counter("knockon_tasks_reaped_total", "Attempts ended because their lease ran out.")

TASKS_CLAIMED = Counter("knockon_tasks_claimed_total", "Attempts begun.", ["operator"])
TASKS_RETRIED = Counter(
    "knockon_tasks_retried_total", "Attempts begun that were not a task's first.", ["operator"]
)
TASK_ATTEMPTS = Counter(
    "knockon_task_attempts_total",
    "Attempts ended: succeeded, failed, lost (to another worker) or stopped (with the worker).",
    ["operator", "outcome"],
)
TASK_SECONDS = Histogram(
    "knockon_task_run_seconds", "The run of a task by its operator.", ["operator"], buckets=_LONG
)
TASK_WAIT_SECONDS = Histogram(
    "knockon_task_queue_wait_seconds",
    "From when a task could be claimed to when it was.",
    ["operator"],
    buckets=_LONG,
)
WORKER_PLACES = Gauge("knockon_worker_places", "Tasks that the process' workers can run at once.")
WORKER_RUNNING = Gauge("knockon_worker_running_tasks", "Tasks that the process' workers run now.")
WORKER_HEARTBEAT = Gauge(
    "knockon_worker_last_heartbeat_timestamp_seconds",
    "When the leases of the process' workers were last renewed.",
)

OPENLINEAGE_EVENTS = Counter(
    "knockon_openlineage_events_total",
    "Events of tasks for OpenLineage: sent, or dropped (refused, or too many were waiting).",
    ["outcome"],
)

DUTY_ERRORS = Counter(
    "knockon_duty_errors_total", "Errors that a loop has met, and gone on after.", ["duty"]
)
