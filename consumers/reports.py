"""Reports of ingested batches, in the metrics and the log."""

import structlog

from consumers.metrics import count
from engine.flow.ingestion.ingest import Ingested
from engine.model.event import Batch

_log = structlog.get_logger(__name__)


def report(batch: Batch, written: Ingested, seconds: float) -> None:
    """Count a batch written in ``seconds``, and warn of widened events and dead letters."""
    count(batch, written, seconds)
    if widened := batch.widened:
        _log.warning("widened events", count=len(widened), why=widened[0].note)
    if rejections := written.rejections:
        _log.warning("dead letters", count=len(rejections), why=rejections[0].error)
