"""Queries, which read a single state in one transaction and write nothing."""
