"""A job of one DAG version, immutable: a deploy creates new jobs."""

from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import Any
from uuid import UUID

import msgspec

from engine.model import scaling
from engine.model.states import Activation, ExecutionStrategy, UpdateStrategy

LOCAL = "local"
"""Runtime of workers; its SQL is PostgreSQL's."""

# Python 3.11 looks members up with a call, and the planner asks several times for each edge.
_SOURCE, _MANUAL = Activation.SOURCE, Activation.MANUAL
_PER_PARTITION, _PER_UPDATE = ExecutionStrategy.PER_PARTITION, ExecutionStrategy.PER_UPDATE


class Awaited(StrEnum):
    """Input partitions awaited by the first run of an output partition, in place of a number."""

    ANY = "any"
    ALL = "all"


class AllBut(msgspec.Struct, frozen=True, gc=False):
    """All input partitions except for some, whichever they are."""

    all_but: int


WaitFor = Awaited | int | AllBut


class Appearance(StrEnum):
    """Appearance of time partitions, in place of a number of seconds after the end of the window.

    From the start of the window, or earlier with an input in the window; or at any time.
    """

    START = "start"
    ALWAYS = "always"


Appears = Appearance | int


class JobInput(msgspec.Struct, frozen=True, gc=False):
    """An input of a job: a dataset and its use.

    ``mapping`` is the resolved mapping specification, from the input's partitions to the output's.
    ``alias`` is the name of the dataset in the job's own code. ``cursor`` is set for the followed
    input of a ``PerUpdate`` job: ``{"column": …, "type": "integer" | "timestamp" | "text"}``.
    ``preserved_columns`` maps a column of the dataset to the columns of the job's outputs that
    carry it unchanged and keep its values apart. ``ignores_failure``: a failed task of the input
    blocks no task of the job.
    """

    dataset: UUID
    name: str
    alias: str
    mapping: Any = None
    wait_for: WaitFor = Awaited.ANY
    cursor: Mapping[str, str] | None = None
    preserved_columns: Mapping[str, Sequence[str]] = {}
    ignores_failure: bool = False


class Job(msgspec.Struct, frozen=True, gc=False):
    """A job, with the settings used by lineage, planner and workers.

    ``columns`` is the column lineage as JSON text (see `lineage.columns.column_maps`), None if
    unknown; decoding is deferred because there may be a million pairs, most of them never used.
    ``code`` is JSON text as well: the hashes of the deployed code by name; None: the code is not
    checked. ``appears`` is the time at which time partitions of the outputs come into being.
    """

    id: UUID
    name: str
    dag_name: str
    activation: Activation
    strategy: ExecutionStrategy
    inputs: tuple[JobInput, ...]
    outputs: tuple[UUID, ...]
    runtime: str = LOCAL
    operator: str = "sql"
    update_strategy: UpdateStrategy = UpdateStrategy.REPLACE
    unique_key: tuple[str, ...] = ()
    config: Mapping[str, Any] = msgspec.field(default_factory=dict)
    config_hash: str = ""
    scaling: Mapping[str, Any] = msgspec.field(default_factory=dict)
    timeout_seconds: int | None = None
    heartbeat_timeout_seconds: int | None = None
    max_attempts: int = 3
    columns: str | None = None
    code: str | None = None
    appears: Appears = Appearance.START

    @property
    def full_name(self) -> str:
        """The name of the job, unique across all DAGs."""
        return f"{self.dag_name}.{self.name}"

    @property
    def max_partitions_per_run(self) -> int:
        """The maximum number of adjacent output partitions per task."""
        return scaling.max_partitions_per_run(self.scaling)

    @property
    def is_source(self) -> bool:
        """True if the job never runs: systems outside write its outputs, and report changes."""
        return self.activation == _SOURCE

    @property
    def is_manual(self) -> bool:
        """True if the job runs only on request."""
        return self.activation == _MANUAL

    @property
    def is_single_run(self) -> bool:
        """True if a single run builds all output partitions, possibly newly discovered ones."""
        return self.strategy != _PER_PARTITION

    @property
    def is_per_update(self) -> bool:
        """True if a run reads only new and changed rows of its followed input."""
        return self.strategy == _PER_UPDATE

    @property
    def has_task_for_each_key(self) -> bool:
        """True if every output partition has a task of its own."""
        return self.strategy == _PER_PARTITION and self.max_partitions_per_run == 1

    @property
    def merge_key(self) -> tuple[str, ...]:
        """The columns by which rows are merged; empty if runs replace partitions."""
        return self.unique_key if self.update_strategy == UpdateStrategy.APPEND else ()

    @property
    def writes_with_its_completion(self) -> bool:
        """True if a run's output and its completion are written in one transaction."""
        return self.operator == "sql" and self.runtime == LOCAL

    @property
    def priority(self) -> int:
        """The priority of tasks: higher values are claimed first."""
        return scaling.priority(self.scaling)

    @property
    def waits_for_inputs(self) -> bool:
        """True if any input can delay a first run until enough of its partitions exist."""
        return any(each.wait_for != Awaited.ANY for each in self.inputs)

    @property
    def max_concurrency(self) -> int | None:
        """The maximum number of concurrent tasks; None: any number."""
        return self.scaling.get("max_concurrency")

    @property
    def blast_radius(self) -> int | None:
        """The maximum number of partitions that one plan may build without approval.

        None: any number.
        """
        return self.scaling.get("blast_radius")
