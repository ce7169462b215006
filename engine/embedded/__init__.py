"""A PostgreSQL and a Kafka-compatible broker that need no installation of their own."""
