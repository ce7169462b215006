"""Foundations of all operations: the org's lineage, partitions and inputs loaded from the tables.

Contains the only definition of a stale partition, and the invalidations created by Knockon itself.
"""
