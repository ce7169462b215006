"""A real Apache Kafka for tests, where Java 17 and Maven are."""

from tests.support.apache_kafka.broker import ApacheKafka

__all__ = ["ApacheKafka"]
