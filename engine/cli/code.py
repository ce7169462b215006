"""Code that DAG files name, hashed where they are deployed from."""

from engine.errors import InvalidInput
from engine.model.dag import DagFile, JobSpec
from engine.model.source_positions import Problem
from engine.worker.project_code import project_code


def with_python_code(dag: DagFile) -> DagFile:
    """The DAG with hashes of the code of its python jobs; one with a ``version`` needs none.

    Raises InvalidDag where code is not found here.
    """
    hashes: dict[str, dict[str, str]] = {}
    problems = []
    for j, job in enumerate(dag.jobs):
        if job.operator != "python" or job.version is not None or job.code is not None:
            continue
        try:
            hashes[job.name] = project_code(_module(job))
        except InvalidInput as error:
            message = (
                f"{error}, so that a change of the code would go unnoticed: deploy where the code "
                "is installed (PYTHONPATH), or give the job a `version` and change it with the code"
            )
            problems.append(Problem(("jobs", j, "config", "callable"), message))
    if problems:
        raise dag.source_map.error(problems)
    return dag.with_code(hashes)


def _module(job: JobSpec) -> str:
    return str(job.config.get("callable")).partition(":")[0]
