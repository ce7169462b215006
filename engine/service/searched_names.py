"""The names of a lineage that are searched."""

from dataclasses import dataclass

from engine.lineage.graph import Lineage
from engine.model.dataset import Dataset
from engine.model.job import Job
from engine.service.name_index import NameIndex


@dataclass(frozen=True, slots=True)
class SearchedNames:
    """Names by kind; jobs are found by name and by full name, columns only if declared."""

    datasets: NameIndex[Dataset]
    jobs: NameIndex[Job]
    columns: NameIndex[Dataset]
    dags: NameIndex[str]

    @staticmethod
    def of(lineage: Lineage) -> "SearchedNames":
        """Collect the names of a lineage."""
        jobs = lineage.order
        datasets = [lineage.dataset(output) for job in jobs for output in job.outputs]
        return SearchedNames(
            datasets=NameIndex((dataset.name, dataset) for dataset in datasets),
            jobs=NameIndex((name, job) for job in jobs for name in (job.name, job.full_name)),
            columns=NameIndex((c, dataset) for dataset in datasets for c in dataset.columns or ()),
            dags=NameIndex((dag, dag) for dag in {job.dag_name for job in jobs}),
        )
