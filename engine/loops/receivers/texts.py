"""Events in words, for receivers that show text to people."""

from typing import Final

from engine.model.states import EventKind
from engine.store.rows.events import FeedEvent

_SUMMARIES: Final = {
    EventKind.TASK_FAILED: "a task failed for good",
    EventKind.PLAN_PENDING_APPROVAL: "a plan is pending approval",
    EventKind.INVALIDATION_SET_ASIDE: "an invalidation was set aside",
    EventKind.DEAD_LETTER_RECORDED: "a message became a dead letter",
    EventKind.PARTITION_LOST: "the audit found lost partitions",
}


def summary(event: FeedEvent) -> str:
    """Return what happened in one line, with the job or dataset."""
    about = event.detail.get("dataset")
    if event.job_name is not None:
        about = f"{event.dag_name}.{event.job_name}"
    what = _SUMMARIES.get(event.kind, event.kind)
    return what if about is None else f"{what}: {about}"


def description(event: FeedEvent) -> str:
    """Return the details, one per line."""
    shown = {"id": event.subject_id, "time": event.occurred_at.isoformat()} | event.detail
    return "\n".join(f"{name.replace('_', ' ')}: {value}" for name, value in shown.items())
