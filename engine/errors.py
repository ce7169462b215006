"""Every error that Knockon raises on purpose, as one small tree.

A message says what was wrong, where, and what to do about it.
"""


class KnockonError(Exception):
    """Root of the tree; the command line prints it and exits with 1."""


class InvalidInput(KnockonError):
    """What somebody gave us cannot be used as it stands."""


class InvalidDag(InvalidInput):
    """A DAG file is malformed or contradicts itself or what is deployed."""


class InvalidPartition(InvalidInput):
    """A partition key or range that its dataset cannot have."""


class TooManyPartitions(InvalidPartition):
    """A set of partitions that is too large to be listed or combined."""


class TooCostlyToPlan(InvalidInput):
    """An invalidation whose planning exceeds what the planner's process can bear."""


class InvalidMapping(InvalidInput):
    """A partition mapping that cannot apply between its two datasets."""


class InvalidFilter(InvalidInput):
    """A row filter with an unknown column, operator or type."""


class InvalidEvent(InvalidInput):
    """A delivery that cannot be read as a source event."""


class UnknownName(InvalidInput):
    """A dataset, job, org, task or plan that does not exist."""


class LeaseLost(KnockonError):
    """The lease token shown is not the task's current one; stop working on it."""


class PositionLost(KnockonError):
    """Another consumer has moved this stream's position; resume from the stored one."""


class ServiceUnavailable(KnockonError):
    """A database or broker cannot be reached."""


class TaskFailed(KnockonError):
    """A job's own code failed; the attempt counts."""
