"""The code of Python jobs, from a deploy to a worker with different code."""

import json
from pathlib import Path

import psycopg

from tests.acceptance.cli.conftest import Knockon

DAG = {
    "dag": "w",
    "jobs": [
        {
            "name": "src",
            "activation": "source",
            "source": {"kind": "manual"},
            "outputs": [{"dataset": "orders"}],
        },
        {
            "name": "made",
            "operator": "python",
            "config": {"callable": "ours.job:run"},
            "inputs": ["orders"],
            "outputs": [{"dataset": "made"}],
        },
    ],
}


def _project(folder: Path, helper: str) -> Path:
    (folder / "ours").mkdir(parents=True)
    (folder / "ours" / "job.py").write_text("from ours import helper\ndef run(context): pass\n")
    (folder / "ours" / "helper.py").write_text(helper)
    return folder


def _with(knockon: Knockon, project: Path) -> Knockon:
    path = knockon.env.get("PYTHONPATH", "")
    return Knockon(knockon.env | {"PYTHONPATH": f"{project}:{path}"})


def test_a_worker_with_different_code_fails_the_task_once(
    knockon: Knockon, tmp_path: Path, database_url: str
) -> None:
    file = tmp_path / "dag.yaml"
    file.write_text(json.dumps(DAG))
    deployed = _with(knockon, _project(tmp_path / "new", "x = 2\n"))
    old = _with(knockon, _project(tmp_path / "old", "x = 1\n"))

    error = knockon("deploy", file, code=1).err
    assert (
        "jobs[1].config.callable: there is no module 'ours.job' here: install it, add its "
        "directory to KNOCKON_CODE_PATH, or correct the name; or give the job a `version`, and "
        "change the version with the code"
    ) in error
    deployed("deploy", file)
    knockon("invalidate", "orders")
    with psycopg.connect(database_url, autocommit=True) as conn:
        with (
            knockon.running("engine", until="engine is up"),
            old.running("worker", until="task failed"),
        ):
            pass
        failed = conn.execute(
            "SELECT status, attempts, error_message FROM knockon.tasks"
        ).fetchall()
    assert [(status, attempts) for status, attempts, _ in failed] == [("failed", 1)]
    assert "differs from the deployed code: module ours.helper is" in failed[0][2]

    preview = old("deploy", file, "--dry-run").out
    assert "! the Python code of made has changed: restart the workers" in preview
    (done,) = old("deploy", file, "--dry-run", "--json").json["dags"]
    assert done["diff"]["changed"] == {"made": ["code"]}
    assert list(done["diff"]["regenerated"]) == ["made"]
    source, made = DAG["jobs"]
    file.write_text(json.dumps(DAG | {"jobs": [source, {**made, "version": "1"}]}))
    knockon("deploy", file)


def test_code_is_found_beside_its_dag_file(knockon: Knockon, tmp_path: Path) -> None:
    project = _project(tmp_path / "project", "x = 1\n")
    file = project / "dag.yaml"
    file.write_text(json.dumps(DAG))
    worker = Knockon(knockon.env | {"KNOCKON_CODE_PATH": f"{tmp_path}:{project}"})

    knockon("deploy", file)
    with (
        knockon.running("engine", until="engine is up"),
        worker.running("worker", until="worker is up"),
    ):
        knockon("invalidate", "orders", "--wait")
    (task,) = knockon("tasks", "--json").json
    assert (task["job"], task["status"]) == ("made", "succeeded")
