"""A dataset that is registered by a rule when it is first heard of."""

from dataclasses import dataclass, field

from engine.model.dag import JobSpec
from engine.model.told import Name


@dataclass(frozen=True, slots=True)
class Heard:
    """The DAG that it goes to, what it is called there, and the source job that it becomes."""

    dag: str
    name: Name
    job: JobSpec = field(compare=False)

    @property
    def dataset(self) -> str:
        """What it is called here."""
        return self.job.outputs[0].dataset
