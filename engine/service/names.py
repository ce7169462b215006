"""Names given as filters of lists: an unknown one is an error, not an empty list."""

from collections.abc import Iterable

from engine.errors import InvalidPartition, UnknownName
from engine.lineage.graph import Lineage
from engine.model.dataset import Dataset
from engine.model.job import Job
from engine.model.source_positions import did_you_mean
from engine.partitions import PartitionSpace
from engine.planner.first_runs import SINGLE_RUN_KEY
from engine.service.visibility import EVERYTHING, Visibility


def require_dag(lineage: Lineage, dag: str, visible: Visibility = EVERYTHING) -> None:
    """Check that a DAG is deployed. Raises UnknownName, with a similar name if there is one."""
    deployed = {job.dag_name for job in lineage.order} - visible.dags
    if dag not in deployed:
        hint = did_you_mean(dag, deployed) or "; 'knockon status' lists the deployed DAGs"
        raise UnknownName(f"there is no DAG {dag!r} deployed in this org{hint}")


def dataset_named(lineage: Lineage, name: str, visible: Visibility = EVERYTHING) -> Dataset:
    """Return the dataset with a name; a hidden one counts as unknown.

    Raises UnknownName, with a similar name if there is one.
    """
    if not lineage.has_dataset_named(name) or name in visible.dataset_names:
        names = [each for each in lineage.dataset_names if each not in visible.dataset_names]
        hint = did_you_mean(name, names) or "; 'knockon datasets' lists them"
        raise UnknownName(f"there is no dataset {name!r} deployed in this org{hint}")
    return lineage.dataset_named(name)


def require_partition(lineage: Lineage, jobs: Iterable[Job], text: str) -> None:
    """Check that a task of one of the jobs can have a partition. Raises InvalidPartition."""
    if text == SINGLE_RUN_KEY:
        return
    problems = []
    for job in jobs:
        try:
            one_key(lineage.job_space(job), text, lineage.dataset(job.outputs[0]).name)
        except InvalidPartition as error:
            problems.append(error)
        else:
            return
    if len(problems) == 1:
        raise problems[0]
    if problems:
        raise InvalidPartition(
            f"no job has a partition {text!r}: give one key, as shown by "
            "'knockon partitions DATASET'"
        )


def one_key(space: PartitionSpace, text: str, dataset: str) -> str:
    """Return the key of a single partition as stored. Raises InvalidPartition."""
    partitions = space.parse(text)
    if not partitions.is_finite or partitions.count() != 1:
        raise InvalidPartition(f"{text!r} is not one partition of {dataset!r}: give one key")
    return next(iter(space.keys(partitions)))
