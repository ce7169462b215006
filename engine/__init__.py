"""Knockon: event-driven invalidation and incremental recomputation, each change exactly once."""

__version__ = "0.1.0"
