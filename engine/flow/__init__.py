"""One verb, one file, one transaction: what happens to an event, from ingest to settled."""
