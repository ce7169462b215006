"""The ways in: Kafka, Postgres triggers, and manual requests."""
