"""`.ci/nightly`, with a test double for make in place of the suites."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.support.compose import ROOT

MAKE = """#!/usr/bin/env bash
echo "$@" >> calls
case "$*" in
  "--dry-run perturb") exit "$LACKING" ;;
  "faults FAULT_SEED=2") echo broken; exit 2 ;;
  containers) echo "skipped: no engine" ;;
esac
"""


@pytest.fixture
def nightly(tmp_path: Path):
    for name in (".ci", "bin"):
        (tmp_path / name).mkdir()
    shutil.copy(ROOT / ".ci" / "nightly", tmp_path / ".ci")
    make = tmp_path / "bin" / "make"
    make.write_text(MAKE)
    make.chmod(0o755)

    def run(code: int, **variables: str) -> tuple[list[str], list[str]]:
        env = {"PATH": f"{tmp_path}/bin:{os.environ['PATH']}", "LACKING": "0", **variables}
        command = [tmp_path / ".ci" / "nightly"]
        done = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
        assert done.returncode == code, done
        calls = (tmp_path / "calls").read_text().splitlines()
        return calls, done.stdout.partition("nightly, of")[2].splitlines()[1:]

    return run


def test_every_suite_runs_despite_failures_of_others(nightly, tmp_path: Path) -> None:
    calls, summary = nightly(1, NIGHTLY_SECONDS="7", NIGHTLY_FAULT_SEEDS="1 2")
    assert [call for call in calls if not call.startswith("--dry-run")] == [
        "venv",
        "simulate SECONDS=7",
        "mutations",
        "faults FAULT_SEED=1",
        "faults FAULT_SEED=2",
        "containers",
        "oldest-sqlglot",
        "perturb SECONDS=7",
        "docs",
    ]
    assert [line.split(" (")[0].strip() for line in summary] == [
        "simulate: passed",
        "mutations: passed",
        "faults-1: passed",
        "faults-2: FAILED",
        "containers: skipped: no engine",
        "oldest-sqlglot: passed",
        "perturb: passed",
        "docs: passed",
    ]
    assert (tmp_path / "build/nightly/faults-2.log").read_text() == "broken\n"


def test_suites_can_be_chosen_and_may_be_missing(nightly) -> None:
    calls, summary = nightly(0, NIGHTLY_SUITES="containers perturb", LACKING="2")
    assert "simulate SECONDS=3600" not in calls
    assert summary[-1].strip() == "perturb: there is no such target"


def test_each_suite_is_a_target() -> None:
    for target in ("simulate", "mutations", "faults", "containers"):
        command = ["make", "--dry-run", target]
        subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
