"""The way in from Kafka: any topics of a cluster, each with a format of its own."""

from consumers.kafka.consumer import KafkaConsumer
from consumers.kafka.rewind import Origin, moves
from consumers.kafka.settings import Ingest, KafkaSettings, Positions, Start

__all__ = [
    "Ingest",
    "KafkaConsumer",
    "KafkaSettings",
    "Origin",
    "Positions",
    "Start",
    "moves",
]
