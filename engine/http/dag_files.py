"""DAG files in requests."""

from collections.abc import Sequence

from engine.errors import InvalidDag, TooCostly
from engine.model.dag import DagFile
from engine.model.dagfile import parse_dag
from engine.model.source_positions import Problem
from engine.model.states import Role
from engine.service.caller import Caller, requires
from engine.service.commands.deploys import deploy
from engine.service.queries.deploys import Deploy, preview
from engine.service.service import Service

_MOST_CHARACTERS = 4 << 20
_MOST_JOBS = 5_000
_MOST_COLUMNS = 100_000


@requires(Role.WRITER)
async def deploy_files(caller: Caller, service: Service, texts: Sequence[str]) -> Deploy:
    """Parse and deploy DAG files. Raises as the deploy does."""
    return await deploy(caller, service, parse_files(texts))


@requires(Role.READER)
async def preview_files(caller: Caller, service: Service, texts: Sequence[str]) -> Deploy:
    """Parse DAG files, and preview their deploy. Raises as the deploy does."""
    return await preview(caller, service, parse_files(texts))


def parse_files(texts: Sequence[str]) -> list[DagFile]:
    """Parse the texts of DAG files. Raises TooCostly, InvalidDag with the problems of all files.

    SQL is part of the text. A Python job needs a ``version``, or hashes of its code as sent by the
    command line, because its code is not at hand here.
    """
    if sum(map(len, texts)) > _MOST_CHARACTERS:
        raise TooCostly(
            f"the files have more than {_MOST_CHARACTERS:,} characters: deploy fewer at once"
        )
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
    _require_moderate(dags)
    return dags


def _require_moderate(dags: Sequence[DagFile]) -> None:
    """Raise TooCostly for more than a deploy over HTTP may have."""
    jobs = [job for dag in dags for job in dag.jobs]
    columns = sum(len(output.columns or ()) for job in jobs for output in job.outputs)
    for count, most, what in ((len(jobs), _MOST_JOBS, "jobs"), (columns, _MOST_COLUMNS, "columns")):
        if count > most:
            raise TooCostly(
                f"the files have {count:,} {what}, and over HTTP at most {most:,}: deploy fewer at "
                "once, or use the command line"
            )


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
