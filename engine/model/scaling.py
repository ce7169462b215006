"""Settings under ``scaling`` of a job, with the defaults of absent ones."""

from collections.abc import Mapping
from typing import Any


def max_partitions_per_run(scaling: Mapping[str, Any]) -> int:
    """Return the maximum number of adjacent output partitions of a task."""
    return int(scaling.get("partitions_per_task", 1))


def priority(scaling: Mapping[str, Any]) -> int:
    """Return the priority of tasks: higher values are claimed first."""
    return int(scaling.get("priority", 0))
