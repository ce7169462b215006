"""The unit of work, as a worker sees it and reports on it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID

from engine.model.dataset import Dataset
from engine.model.job import Job
from engine.model.openlineage import run_id


@dataclass(frozen=True, slots=True)
class Lease:
    """A claimed task: the time-bounded right to run it, and all that the run needs.

    ``inputs`` are the datasets by alias, ``outputs`` in the job's order. ``input_versions`` are
    the stamps that the inputs bore at the claim: ``{dataset id: {partition key: stamp}}``.
    ``cursors`` holds the stored cursor value per followed input id. ``row_filters`` say what
    a ``PerUpdate`` run reads, any of: a row filter, ``{}`` for the rows past the cursor, None for
    all rows; other runs read whole partitions, and have none. ``waited_seconds`` is how long it
    could have been claimed before.
    """

    task_id: UUID
    token: UUID
    job: Job
    slot: str
    partitions: tuple[str, ...]
    attempt: int
    expires_at: datetime
    worker_id: str
    inputs: Mapping[str, Dataset] = field(default_factory=dict)
    outputs: tuple[Dataset, ...] = ()
    input_versions: Mapping[str, Mapping[str, datetime | None]] = field(default_factory=dict)
    cursors: Mapping[UUID, str] = field(default_factory=dict)
    row_filters: tuple[Mapping[str, Any] | None, ...] = ()
    waited_seconds: float = 0.0

    @property
    def has_read_all_rows(self) -> bool:
        """Whether the run reads all rows of its inputs, and not new or selected ones alone."""
        is_narrow = self.job.strategy == "PerUpdate" and bool(self.cursors)
        return not is_narrow or None in self.row_filters

    @property
    def run_id(self) -> UUID:
        """What OpenLineage knows the attempt by."""
        return run_id(self.task_id, self.attempt)


@dataclass(frozen=True, slots=True)
class Output:
    """One output partition that a run has written.

    Without a ``fingerprint`` the partition counts as changed. ``row_count`` in rows, ``bytes``
    in bytes. ``dataset`` is the name of one of the job's outputs. ``changed`` is the worker's
    own word on whether the content differs from before; left out, the fingerprints decide.

    ``column_fingerprints`` hold a hash for each column, of its values together with what tells
    the rows apart: where rows come or go, each one changes. Those that did change say which
    columns count as changed, unless ``changed_columns``, the worker's own word, says it; with
    neither all of them do.
    """

    dataset: str
    partition: str
    fingerprint: str | None = None
    row_count: int | None = None
    bytes: int | None = None
    location: str | None = None
    schema_hash: str | None = None
    column_fingerprints: Mapping[str, str] | None = None
    changed: bool | None = None
    changed_columns: frozenset[str] | None = None


@dataclass(frozen=True, slots=True)
class Completion:
    """A successful run: its outputs, and how far it read each followed input (by id)."""

    lease: Lease
    outputs: tuple[Output, ...]
    cursors: Mapping[UUID, str] = field(default_factory=dict)
