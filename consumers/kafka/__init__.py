"""Kafka consumer for topics of one cluster, each with a format of its own."""

from consumers.kafka.consumer import KafkaConsumer
from consumers.kafka.rewind import Origin, rewinds
from consumers.kafka.settings import BATCH_SIZE, Ingest, KafkaSettings, Positions, Start

__all__ = [
    "BATCH_SIZE",
    "Ingest",
    "KafkaConsumer",
    "KafkaSettings",
    "Origin",
    "Positions",
    "Start",
    "rewinds",
]
