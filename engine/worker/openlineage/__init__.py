"""OpenLineage: emit run events of a worker's tasks to a lineage service."""

from engine.worker.openlineage.emitter import event_emitter
from engine.worker.openlineage.run_event import Emit, RunEvent, discard

__all__ = ["RunEvent", "Emit", "event_emitter", "discard"]
