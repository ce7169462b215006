"""OpenLineage: whoever keeps the lineage of a company is told of the tasks that a worker runs."""

from engine.worker.openlineage.emitter import emitting
from engine.worker.openlineage.happening import Happening, Tell, untold

__all__ = ["Happening", "Tell", "emitting", "untold"]
