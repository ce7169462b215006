"""DAG files in requests."""

from collections.abc import Sequence

from engine.errors import InvalidDag
from engine.model.dag import DagFile
from engine.model.dagfile import parse_dag
from engine.model.source_positions import Problem


def parse_files(texts: Sequence[str]) -> list[DagFile]:
    """Parse the texts of DAG files. Raises InvalidDag with the problems of all files.

    SQL is part of the text. A Python job needs a ``version``, or hashes of its code as sent by the
    command line, because its code is not at hand here.
    """
    dags: list[DagFile] = []
    problems: list[str] = []
    for index, text in enumerate(texts):
        where = f"files[{index}]"
        try:
            dag = parse_dag(text.encode(), where=where)
            _require_versions(dag)
        except InvalidDag as error:
            problems.append(str(error))
        else:
            if any(dag.dag == other.dag for other in dags):
                problems.append(f"{where}: an earlier file defines DAG {dag.dag!r} as well")
            dags.append(dag)
    if problems:
        raise InvalidDag("\n".join(problems))
    return dags


def _require_versions(dag: DagFile) -> None:
    missing = [
        Problem(
            ("jobs", index, "operator"),
            "a python job deployed over HTTP needs a `version`, to be changed with its code, "
            "because the code is only where the command line runs: add it",
        )
        for index, job in enumerate(dag.jobs)
        if job.operator == "python" and job.version is None and job.code is None
    ]
    if missing:
        raise dag.source_map.error(missing)
