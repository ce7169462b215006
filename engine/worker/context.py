"""Input and result of an operator's run."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from engine.errors import InvalidInput
from engine.flow.shared.org_context import OrgContext
from engine.model.dataset import Dataset
from engine.model.tables import table_text
from engine.model.task import Lease, Output
from engine.partitions import DimensionValue, PartitionSet
from engine.store.database import Database
from engine.worker.log_tail import LogTail
from engine.worker.reading import existing_partitions, space_of, visible


@dataclass(frozen=True, slots=True)
class Result:
    """Written outputs, and the new cursor of each followed input by dataset id.

    ``is_recorded`` is set if the operator has completed the task in the transaction that wrote the
    data.
    """

    outputs: tuple[Output, ...] = ()
    cursors: Mapping[UUID, str] = field(default_factory=dict)
    is_recorded: bool = False


@dataclass(frozen=True, slots=True)
class Context:
    """One run of one task.

    ``database`` is Knockon's own; ``org`` is the task's org, and ``namespace`` the OpenLineage
    namespace of the org's jobs. ``log`` takes the output of the run.
    """

    lease: Lease
    database: Database
    org: OrgContext
    namespace: str = "knockon"
    log: LogTail = field(default_factory=LogTail, repr=False, compare=False)
    _existing: dict[str, PartitionSet] = field(
        default_factory=dict, init=False, repr=False, compare=False
    )

    @property
    def parent_run(self) -> str:
        """The run in the format of OPENLINEAGE_PARENT_ID, as read by OpenLineage clients."""
        return f"{self.namespace}/{self.lease.job.full_name}/{self.lease.run_id}"

    @property
    def partitions(self) -> tuple[str, ...]:
        """Output partitions to compute: keys, or key ranges if one run makes all."""
        return self.lease.partitions

    @property
    def inputs(self) -> Mapping[str, Dataset]:
        """The job's inputs by alias."""
        return self.lease.inputs

    @property
    def row_filters(self) -> tuple[Mapping[str, Any] | None, ...]:
        """Row filters of the followed input; the rows that match any filter are to be read.

        ``{}``, like an empty tuple, selects the rows after the cursor; None selects all rows.
        """
        return self.lease.row_filters

    @property
    def cursors(self) -> Mapping[UUID, str]:
        """Cursor of each followed input, by dataset id."""
        return self.lease.cursors

    def table(self, alias: str) -> str:
        """Return the table that stores an input. Raises InvalidInput for an unknown alias."""
        return table_of(self._input(alias))

    def window(self, partition: str) -> dict[str, DimensionValue]:
        """Return each dimension's part of an output partition's key, with half-open bounds."""
        return space_of(self.lease.outputs[0].partitioning).values(partition)

    def needs(self, alias: str, partition: str) -> PartitionSet:
        """Return the partitions of an input from which an output partition is computed.

        For an input that is not a source, these are partitions that existed at the claim.
        """
        self._input(alias)
        target = space_of(self.lease.outputs[0].partitioning).parse(partition)
        if alias not in self._existing:
            self._existing[alias] = existing_partitions(self.lease, alias)
        return visible(self.lease, alias, target, self._existing[alias])

    def _input(self, alias: str) -> Dataset:
        if alias not in self.lease.inputs:
            aliases = ", ".join(self.lease.inputs) or "none"
            raise InvalidInput(
                f"job {self.lease.job.name!r} has no input {alias!r}; its inputs: {aliases}"
            )
        return self.lease.inputs[alias]


def table_of(dataset: Dataset) -> str:
    """Return the table that stores a dataset: `storage.table`, or else the dataset's name."""
    return table_text(dataset.storage, dataset.name)
