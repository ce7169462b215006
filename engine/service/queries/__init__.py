"""Queries: each reads in one transaction that sees a single state, and writes nothing."""
