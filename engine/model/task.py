"""The unit of work, as claimed and reported by a worker."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID

from engine.model.dataset import Dataset
from engine.model.job import Job
from engine.model.openlineage import run_id

StoredFilter = Mapping[str, Any] | None
"""Rows that a task reads, as stored: a row filter, `NEW_ROWS`, or None for all rows."""
NEW_ROWS: StoredFilter = {}
"""The rows after the cursor."""


@dataclass(frozen=True, slots=True)
class Lease:
    """A claimed task: the time-limited right to run it, with everything needed by the run.

    ``inputs`` are the datasets by alias, ``outputs`` in the job's order. ``sources`` are the ids of
    the inputs that are sources, and may have rows in partitions without a content version; a
    partition of another input exists only with a version. ``input_versions`` are the
    content versions of the inputs at the claim: ``{dataset id: {partition key: content version}}``.
    ``cursors`` holds the stored cursor value per followed input id. ``row_filters`` are the rows
    read by a ``PerUpdate`` run, as the union of its entries: a row filter, ``{}`` for the rows past
    the cursor, None for all rows. Without a cursor, the run reads all rows. Other runs read whole
    partitions, and have no row filters. ``waited_seconds`` is the time during which the task was
    claimable before.
    """

    task_id: UUID
    token: UUID
    job: Job
    block_key: str
    partitions: tuple[str, ...]
    attempt: int
    expires_at: datetime
    worker_id: str
    inputs: Mapping[str, Dataset] = field(default_factory=dict)
    outputs: tuple[Dataset, ...] = ()
    sources: frozenset[UUID] = frozenset()
    input_versions: Mapping[str, Mapping[str, datetime | None]] = field(default_factory=dict)
    cursors: Mapping[UUID, str] = field(default_factory=dict)
    row_filters: tuple[StoredFilter, ...] = ()
    waited_seconds: float = 0.0

    @property
    def has_read_all_rows(self) -> bool:
        """True if the run reads all rows of its inputs, not only new or selected rows."""
        is_narrow = self.job.is_per_update and bool(self.cursors)
        return not is_narrow or None in self.row_filters

    @property
    def has_read_new_rows(self) -> bool:
        """True if the run reads all rows past the cursor, not only selected rows."""
        return self.has_read_all_rows or not self.row_filters or NEW_ROWS in self.row_filters

    @property
    def run_id(self) -> UUID:
        """The id of the attempt in OpenLineage events."""
        return run_id(self.task_id, self.attempt)


@dataclass(frozen=True, slots=True)
class Output:
    """An output partition written by a run.

    ``dataset`` is the name of one of the job's outputs. Without a ``fingerprint`` the partition
    counts as changed. ``changed`` is the worker's own statement that the content differs from
    before; if omitted, the fingerprints decide. ``row_count`` is in rows, ``bytes`` in bytes.

    ``column_fingerprints`` holds one hash per column, of its values together with the row keys, so
    that every hash changes when rows are added or removed. Columns with a different hash count as
    changed, unless the worker reports ``changed_columns`` itself; without either, all columns do.

    ``rows_only_added``: since the last completed run, rows were added, and no other row was changed
    or deleted. Otherwise ``PerUpdate`` readers read all rows again.
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
    rows_only_added: bool = False


MAX_LOG_BYTES = 65_536
"""Limit of the stored log of an attempt; of a longer log, the end is stored."""


@dataclass(frozen=True, slots=True)
class Completion:
    """A successful run: its outputs, and the new cursor value of each followed input (by id).

    ``log`` is the output of the run as text.
    """

    lease: Lease
    outputs: tuple[Output, ...]
    cursors: Mapping[UUID, str] = field(default_factory=dict)
    log: str = ""
