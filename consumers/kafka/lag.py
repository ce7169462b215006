"""The lag of Knockon's positions behind the broker, as a metric."""

from collections.abc import Mapping

from aiokafka import AIOKafkaConsumer, TopicPartition

from consumers.kafka.position import Position
from engine.monitor.metrics import KAFKA_LAG


def report_lag(
    consumer: str, client: AIOKafkaConsumer, positions: Mapping[TopicPartition, Position]
) -> None:
    """Set the lag of the assigned partitions, from the log ends that fetch responses contain."""
    clear_lag(consumer)
    for partition, position in positions.items():
        end = client.highwater(partition)
        if end is not None:
            lag = KAFKA_LAG.labels(consumer, partition.topic, partition.partition)
            lag.set(max(end - position.offset, 0))


def clear_lag(consumer: str) -> None:
    """Clear the lag of all partitions, because none is assigned any more."""
    for metric in KAFKA_LAG.collect():
        for sample in metric.samples:
            if sample.labels["consumer"] == consumer:
                KAFKA_LAG.remove(*sample.labels.values())
