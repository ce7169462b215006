"""Embedded servers, without installation: PostgreSQL and a Kafka-compatible broker."""
