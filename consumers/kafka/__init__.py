"""The way in from Kafka: any topics of a cluster, each with a format of its own."""

from consumers.kafka.consumer import KafkaConsumer
from consumers.kafka.settings import Ingest, KafkaSettings, Positions, Rejected, Start

__all__ = ["Ingest", "KafkaConsumer", "KafkaSettings", "Positions", "Rejected", "Start"]
