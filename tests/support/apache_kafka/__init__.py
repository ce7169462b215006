"""A real Apache Kafka for tests, if Java 17 and Maven are installed."""

from tests.support.apache_kafka.broker import ApacheKafka

__all__ = ["ApacheKafka"]
