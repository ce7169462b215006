"""How far the ledger is behind the broker."""

from collections.abc import Mapping

from aiokafka import AIOKafkaConsumer, TopicPartition

from consumers.kafka.position import Position
from engine.monitor.metrics import KAFKA_LAG


def tell_lag(client: AIOKafkaConsumer, places: Mapping[TopicPartition, Position]) -> None:
    """Tell it of the partitions that are ours, by the ends that came with the last fetches."""
    KAFKA_LAG.clear()
    for partition, place in places.items():
        end = client.highwater(partition)
        if end is not None:
            lag = KAFKA_LAG.labels(partition.topic, partition.partition)
            lag.set(max(end - place.offset, 0))


def forget_lag() -> None:
    """Tell of no partition, since none is ours any more."""
    KAFKA_LAG.clear()
