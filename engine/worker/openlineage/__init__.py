"""OpenLineage: whoever keeps the lineage of a company is told of the tasks that a worker runs."""

from engine.worker.openlineage.emitter import event_emitter
from engine.worker.openlineage.run_event import Emit, RunEvent, discard

__all__ = ["RunEvent", "Emit", "event_emitter", "discard"]
