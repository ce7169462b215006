"""Counters, gauges and histograms of a process, named by Prometheus' conventions.

Loops, workers and consumers update these metrics, never the core and never code inside a
transaction. `exposition` adds the org as a label when the metrics are read.
"""

from prometheus_client import Counter, Gauge, Histogram, disable_created_metrics

disable_created_metrics()  # type: ignore[no-untyped-call]

_QUICK = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
_LONG = (0.01, 0.05, 0.1, 0.5, 1, 5, 15, 60, 300, 900, 3600, 14400)
_SIZES = (0, 1, 10, 100, 1_000, 10_000, 100_000)

EVENTS_RECEIVED = Counter(
    "knockon_events_received_total",
    "Events ingested.",
    ["transport", "topic"],
)
EVENTS_REJECTED = Counter(
    "knockon_events_rejected_total",
    "Messages stored as dead letters.",
    ["transport", "topic"],
)
EVENTS_WIDENED = Counter(
    "knockon_events_widened_total",
    "Events counted as a larger change than may have happened, because part of "
    "the change was unknown.",
    ["transport"],
)
UNNAMED_OUTPUT_RUNS = Counter(
    "knockon_openlineage_runs_without_outputs_total",
    "OpenLineage runs that ended, or were given up, without naming outputs announced earlier.",
)
INVALIDATIONS_WRITTEN = Counter(
    "knockon_invalidations_written_total",
    "Invalidations written by consumers, after merging equal and covered scopes.",
    ["transport"],
)
INGEST_SECONDS = Histogram(
    "knockon_ingest_seconds",
    "Duration of the transaction that writes one batch of events.",
    ["transport"],
    buckets=_QUICK,
)

DELAYED_SECONDS = Counter(
    "knockon_events_delayed_seconds_total",
    "Time for which consumers waited because of an org's quota of events per second.",
    ["consumer"],
)
EVENTS_REFUSED = Counter(
    "knockon_events_refused_total",
    "Requests with events refused because of the org's quota of events per second.",
    ["org"],
)

KAFKA_LAG = Gauge(
    "knockon_kafka_lag_messages",
    "Messages between the position stored in Knockon's database (not the broker's "
    "commits) and the end of a partition.",
    ["consumer", "topic", "partition"],
)
CHANGE_LOG_ROWS = Gauge(
    "knockon_change_log_unread_rows",
    "Rows of a source's change log not yet ingested by a reader, estimated from row ids.",
    ["reader"],
)
CHANGE_LOG_SECONDS = Gauge(
    "knockon_change_log_unread_seconds",
    "Age of the oldest row of a source's change log not yet ingested by a reader.",
    ["reader"],
)
SOURCE_QUEUE_USAGE = Gauge(
    "knockon_source_notification_queue_usage_ratio",
    "Used fraction of the source database's NOTIFY queue.",
)
SOURCE_DRIFT = Gauge(
    "knockon_source_drifted_tables",
    "Attached tables altered since they were attached, for lack of rights not attached again.",
)
SOURCE_INTERRUPTIONS = Counter(
    "knockon_source_interruptions_total",
    "Interruptions of reading a change log, each followed by a new start.",
)

INVALIDATIONS_PLANNED = Counter("knockon_invalidations_planned_total", "Invalidations planned.")
PLANS = Counter(
    "knockon_plans_total",
    "Planning transactions by outcome: `applied` or `pending_approval`.",
    ["outcome"],
)
PLANNING_SECONDS = Histogram(
    "knockon_planning_seconds", "Duration of a planning transaction.", buckets=_QUICK
)
PLAN_TASKS = Histogram(
    "knockon_plan_tasks", "Tasks created or joined by an applied plan.", buckets=_SIZES
)
AUDITED_PARTITIONS = Gauge(
    "knockon_audited_partitions",
    "Stale partitions in the engine's last audit by verdict: `in hand`, `left` or `lost`.",
    ["verdict"],
)
AUDIT_LOST = Counter("knockon_audit_lost_total", "Lost partitions found and invalidated by audits.")
TASKS_REAPED = Counter(
    "knockon_tasks_reaped_total", "Attempts ended by the engine because their lease expired."
)

TASKS_CLAIMED = Counter("knockon_tasks_claimed_total", "Attempts started.", ["operator"])
TASKS_RETRIED = Counter(
    "knockon_tasks_retried_total", "Attempts started after a task's first.", ["operator"]
)
TASK_ATTEMPTS = Counter(
    "knockon_task_attempts_total",
    "Attempts ended by outcome: `succeeded`, `failed`, `lost` (the lease) or "
    "`stopped` (with the worker).",
    ["operator", "outcome"],
)
TASK_SECONDS = Histogram(
    "knockon_task_run_seconds", "Duration of a task's run.", ["operator"], buckets=_LONG
)
TASK_WAIT_SECONDS = Histogram(
    "knockon_task_queue_wait_seconds",
    "Time from when a task could be claimed to its claim.",
    ["operator"],
    buckets=_LONG,
)
WORKER_SLOTS = Gauge("knockon_worker_slots", "Tasks the process can run at once.")
WORKER_RUNNING = Gauge("knockon_worker_running_tasks", "Tasks running in the process.")
WORKER_HEARTBEAT = Gauge(
    "knockon_worker_last_heartbeat_timestamp_seconds",
    "Time of the last renewal of the process' leases.",
)

OPENLINEAGE_EVENTS = Counter(
    "knockon_openlineage_events_total",
    "OpenLineage events about tasks by outcome: `sent`, or `dropped` (refused, or "
    "the queue was full).",
    ["outcome"],
)

LOOP_ERRORS = Counter("knockon_loop_errors_total", "Errors after which a loop continued.", ["loop"])
