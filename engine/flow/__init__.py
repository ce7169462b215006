"""Event processing from ingestion to resolved tasks: one verb, file and transaction per step."""
