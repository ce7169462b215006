"""Execution of tasks, from the claim under a lease to the resolution of the dependents.

Contains retry and cancellation of tasks, the comparison of written contents, decisions to leave
partitions stale, and permissions to write tables.
"""
