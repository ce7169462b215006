"""Metrics of the batches that consumers ingest."""

from collections import Counter
from collections.abc import Iterable

from engine.flow.ingestion.ingest import Ingested
from engine.model.event import Batch
from engine.monitor import metrics


def count(batch: Batch, written: Ingested, seconds: float) -> None:
    """Update the metrics after a batch has been written in ``seconds``."""
    received = ((events.stream, events.count) for events in batch.received)
    rejected = ((rejection.stream, 1) for rejection in written.rejections)
    for (transport, topic), number in _by_topic(received):
        metrics.EVENTS_RECEIVED.labels(transport, topic).inc(number)
    for (transport, topic), number in _by_topic(rejected):
        metrics.EVENTS_REJECTED.labels(transport, topic).inc(number)
    metrics.UNNAMED_OUTPUT_RUNS.inc(written.unnamed_runs)
    stream = next((each.stream for each in batch.advances), None)
    stream = stream or next((each.stream for each in batch.received), None)
    stream = stream or next((each.stream for each in batch.rejections), None)
    if stream is None:  # outputs of runs that never ended
        return
    transport, _ = _source(stream)
    metrics.EVENTS_WIDENED.labels(transport).inc(len(batch.widened))
    metrics.INVALIDATIONS_WRITTEN.labels(transport).inc(len(written.invalidations))
    metrics.INGEST_SECONDS.labels(transport).observe(seconds)


def _by_topic(counts: Iterable[tuple[str, int]]) -> Iterable[tuple[tuple[str, str], int]]:
    totals: Counter[str] = Counter()
    for stream, number in counts:
        totals[stream] += number
    return [(_source(stream), number) for stream, number in totals.items()]


def _source(stream: str) -> tuple[str, str]:
    """The transport of a stream, and its topic or endpoint if it has one."""
    transport, _, partition = stream.partition("/")
    return transport, partition.partition("/")[0] if transport in ("kafka", "http") else ""
