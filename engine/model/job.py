"""A job of one DAG version. It never changes: a deploy makes new ones."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal
from uuid import UUID

import msgspec

Activation = Literal["source", "reactive", "manual"]
ExecutionStrategy = Literal["PerPartition", "PerUpdate", "Full"]
UpdateStrategy = Literal["replace", "append"]
WaitFor = Literal["any", "all"] | int


class JobInput(msgspec.Struct, frozen=True, gc=False):
    """One dataset that a job reads, and how.

    ``mapping`` is the resolved mapping specification, from the input's partitions to the output's.
    ``alias`` is the name that the job's own code reads it by. ``cursor`` is there for the input
    that a ``PerUpdate`` job follows: ``{"column": …, "type": "integer" | "timestamp" | "text"}``.
    ``passes`` names, for a column of the dataset, the columns of the job's outputs that carry it
    unchanged and keep its rows apart by it.
    """

    dataset: UUID
    name: str
    alias: str
    mapping: Any = None
    wait_for: WaitFor = "any"
    cursor: Mapping[str, str] | None = None
    passes: Mapping[str, Sequence[str]] = {}


class Job(msgspec.Struct, frozen=True, gc=False):
    """What lineage, planner and workers need to know of a job.

    ``columns`` is its column lineage as JSON text, see `lineage.columns.column_maps`; None where
    none is known. Most is never asked for, and there may be a million pairs. ``code`` is JSON text
    too: hashes of the code that was deployed, by name; None: the code is not checked.
    """

    id: UUID
    name: str
    dag_name: str
    activation: Activation
    strategy: ExecutionStrategy
    inputs: tuple[JobInput, ...]
    outputs: tuple[UUID, ...]
    runtime: str = "local"
    operator: str = "sql"
    update_strategy: UpdateStrategy = "replace"
    unique_key: tuple[str, ...] = ()
    config: Mapping[str, Any] = msgspec.field(default_factory=dict)
    config_hash: str = ""
    scaling: Mapping[str, Any] = msgspec.field(default_factory=dict)
    timeout_seconds: int | None = None
    heartbeat_timeout_seconds: int | None = None
    max_attempts: int = 3
    columns: str | None = None
    code: str | None = None

    @property
    def full_name(self) -> str:
        """Its name among the jobs of all DAGs."""
        return f"{self.dag_name}.{self.name}"

    @property
    def partitions_per_task(self) -> int:
        """How many neighbouring output partitions one task may take."""
        return int(self.scaling.get("partitions_per_task", 1))

    @property
    def is_unit(self) -> bool:
        """Whether it is one unit: a task makes all output, partitions that nobody knows yet too."""
        return self.strategy != "PerPartition"

    @property
    def has_task_for_each_key(self) -> bool:
        """Whether every output partition is a task of its own."""
        return self.strategy == "PerPartition" and self.partitions_per_task == 1

    @property
    def writes_with_its_completion(self) -> bool:
        """Whether a run's output and its completion are written in one transaction."""
        return self.operator == "sql" and self.runtime == "local"

    @property
    def priority(self) -> int:
        """Higher is claimed first."""
        return int(self.scaling.get("priority", 0))

    @property
    def holds(self) -> bool:
        """Whether some input holds a first run back until enough of it exists."""
        return any(each.wait_for != "any" for each in self.inputs)

    @property
    def max_concurrency(self) -> int | None:
        """How many of its tasks may run at once; None means any number."""
        return self.scaling.get("max_concurrency")

    @property
    def blast_radius(self) -> int | None:
        """How many of its partitions one plan may have made without approval; None: any number."""
        return self.scaling.get("blast_radius")
