"""The demo: build a year of flights, ingest three changes, and verify the result."""
