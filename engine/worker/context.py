"""What an operator is given for one run, and what it gives back."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from engine.errors import InvalidInput
from engine.flow.scene import Scene
from engine.model.dataset import Dataset
from engine.model.tables import table_text
from engine.model.task import Lease, Output
from engine.partitions import DimensionValue, PartitionSet
from engine.store.database import Database
from engine.worker.reading import needed, space_of


@dataclass(frozen=True, slots=True)
class Result:
    """What a run wrote, and how far it read each input that it follows (by dataset id).

    ``is_recorded``: the run has completed its task itself, in the transaction that wrote.
    """

    outputs: tuple[Output, ...] = ()
    cursors: Mapping[UUID, str] = field(default_factory=dict)
    is_recorded: bool = False


@dataclass(frozen=True, slots=True)
class Context:
    """One run of one task.

    ``database`` is Knockon's own; ``scene`` is the org that the task belongs to, and ``namespace``
    what OpenLineage knows the org's jobs by.
    """

    lease: Lease
    database: Database
    scene: Scene
    namespace: str = "knockon"

    @property
    def parent_run(self) -> str:
        """The run, as clients of OpenLineage take it in OPENLINEAGE_PARENT_ID."""
        return f"{self.namespace}/{self.lease.job.full_name}/{self.lease.run_id}"

    @property
    def partitions(self) -> tuple[str, ...]:
        """The output partitions to make: keys, or ranges of them where the job is not cut."""
        return self.lease.partitions

    @property
    def inputs(self) -> Mapping[str, Dataset]:
        """What the job reads, by alias."""
        return self.lease.inputs

    @property
    def row_filters(self) -> tuple[Mapping[str, Any] | None, ...]:
        """Which rows of the followed input to read; empty: those after the cursor.

        ``{}`` stands for those after the cursor, None for all of them from the start.
        """
        return self.lease.row_filters

    @property
    def cursors(self) -> Mapping[UUID, str]:
        """How far each followed input has been read, by dataset id."""
        return self.lease.cursors

    def table(self, alias: str) -> str:
        """The table that holds an input. Raises InvalidInput for an alias that the job lacks."""
        return table_of(self._input(alias))

    def window(self, partition: str) -> dict[str, DimensionValue]:
        """Each dimension's part of an output partition's key, with its half-open bounds."""
        return space_of(self.lease.outputs[0].partitioning).values(partition)

    def needs(self, alias: str, partition: str) -> PartitionSet:
        """The partitions of an input that an output partition is made from."""
        self._input(alias)
        made = space_of(self.lease.outputs[0].partitioning).parse(partition)
        return needed(self.lease, alias, made)

    def _input(self, alias: str) -> Dataset:
        if alias not in self.lease.inputs:
            known = ", ".join(self.lease.inputs) or "none"
            raise InvalidInput(
                f"job {self.lease.job.name!r} reads nothing as {alias!r}: its inputs are {known}"
            )
        return self.lease.inputs[alias]


def table_of(dataset: Dataset) -> str:
    """The table that holds a dataset: what its storage says, else its own name."""
    return table_text(dataset.storage, dataset.name)
