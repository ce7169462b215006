"""Consumers that ingest source events: Kafka, PostgreSQL triggers, and manual requests."""
