"""Planning of open invalidations: tasks, limits, approval, and invalidations set aside.

Contains the audit, which finds stale partitions without pending work and invalidates them again.
"""
