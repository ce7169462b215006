"""Datasets that a discovery rule registers when an event names them for the first time."""

from dataclasses import dataclass, field

from engine.model.dag import JobSpec
from engine.model.reported_lineage import Name


@dataclass(frozen=True, slots=True)
class DiscoveredDataset:
    """A discovered dataset: its future DAG and source job, and its name in the reporting system."""

    dag: str
    name: Name
    job: JobSpec = field(compare=False)

    @property
    def dataset(self) -> str:
        """The dataset's name in Knockon."""
        return self.job.outputs[0].dataset
