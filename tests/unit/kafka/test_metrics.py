"""Metrics of batches of messages."""

from prometheus_client import REGISTRY

from consumers.metrics import count
from engine.flow.ingestion.ingest import Ingested
from engine.model.event import Advance, Batch, Delivery, Received, SourceEvent


def test_merged_messages_are_counted_one_by_one() -> None:
    labels = {"transport": "kafka", "topic": "merged"}
    stream = "kafka/merged/0"
    merged = Received(
        event=SourceEvent(dataset="a", partitions=("2013-02-13",)),
        stream=stream,
        deliveries=(Delivery(stream, "1"), Delivery(stream, "2")),
        ids=(None, None),
    )
    advance = Advance(stream=stream, before=None, after="3")
    count(Batch(consumer="k", received=(merged,), advances=(advance,)), Ingested((), ()), 0.1)
    assert REGISTRY.get_sample_value("knockon_events_received_total", labels) == 2
