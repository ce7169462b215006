"""Knockon: what a change knocks on, recomputed exactly once."""

__version__ = "0.1.0"
