"""Ingestion of source events: validated, coalesced, and stored as open invalidations.

A batch of a consumer is written together with its new position, its dead letters, the outputs of
ended OpenLineage runs, and column lineage reported by runs.
"""
