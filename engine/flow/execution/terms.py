"""Terms of a run: the datasets that a job reads and writes, as its workers need them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from uuid import UUID

from engine.lineage.graph import Lineage
from engine.model.dataset import Dataset
from engine.model.job import Job


@dataclass(frozen=True, slots=True)
class Terms:
    """Fields shared by all leases of one job; see `Lease`."""

    job: Job
    inputs: Mapping[str, Dataset]
    outputs: tuple[Dataset, ...]
    sources: frozenset[UUID]

    @staticmethod
    def of(lineage: Lineage, job: Job) -> Terms:
        """Return the terms of a deployed job."""
        inputs = {input_.alias: lineage.dataset(input_.dataset) for input_ in job.inputs}
        outputs = tuple(lineage.dataset(output) for output in job.outputs)
        sources = frozenset(
            dataset.id for dataset in inputs.values() if lineage.producer(dataset.id).is_source
        )
        return Terms(job, inputs, outputs, sources)
