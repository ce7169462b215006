"""Hashes of the Python code of jobs, computed where DAGs are deployed."""

from engine.errors import InvalidInput
from engine.model.dag import DagFile
from engine.model.source_positions import Problem
from engine.worker.project_code import project_code


def with_python_code(dag: DagFile) -> DagFile:
    """The DAG with hashes of the code of Python jobs without a ``version``.

    Raises InvalidDag if code is not installed here.
    """
    hashes: dict[str, dict[str, str]] = {}
    problems = []
    for index, job in enumerate(dag.jobs):
        if job.operator != "python" or job.version is not None or job.code is not None:
            continue
        module = str(job.config.get("callable")).partition(":")[0]
        try:
            hashes[job.name] = project_code(module)
        except InvalidInput as error:
            message = (
                f"{error}; or give the job a `version`, and change the version with the "
                "code, whose changes are then not detected"
            )
            problems.append(Problem(("jobs", index, "config", "callable"), message))
    if problems:
        raise dag.source_map.error(problems)
    return dag.with_code(hashes)
