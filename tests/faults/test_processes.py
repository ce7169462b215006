"""Engines, workers and consumers are killed, frozen and multiplied."""

import asyncio
from pathlib import Path

import pytest

from tests.faults.conftest import HarnessFactory
from tests.faults.harness import LOCK_WAITERS, SERVICES, Harness, long_run_only, rounds

_SHELL = """
  - name: shell
    operator: shell
    max_attempts: {max_attempts}
    inputs: [orders]
    outputs: [{{dataset: shell, partitioning: regional}}]
    config: {{command: '{command}'}}
  - name: downstream
    operator: shell
    inputs: [shell]
    outputs: [{{dataset: downstream, partitioning: regional}}]
    config: {{command: 'true'}}
"""
_SHORT_SESSION = """
from engine.store import session
session._SETTINGS = {**session._SETTINGS, "idle_in_transaction_session_timeout": "3s"}
"""
_OF_JOB = "FROM tasks t JOIN jobs j ON j.id = t.job_id WHERE j.name = 'shell'"


def shell(command: str, max_attempts: int = 1000) -> str:
    """A further job that runs a command, and a job downstream of it."""
    return _SHELL.format(command=command, max_attempts=max_attempts)


async def test_random_processes_are_killed(harness: Harness) -> None:
    harness.services.start(*SERVICES)
    for _ in range(rounds(6)):
        await harness.produce(harness.rng.randrange(1, 300))
        await asyncio.sleep(harness.rng.uniform(0, 1))  # a random moment
        victim = harness.rng.choice(SERVICES)
        harness.services.restart(victim)
        harness.count(f"kills of {victim}")
    await harness.assert_consistent()


async def test_worker_frozen_past_its_lease_is_refused(
    make_harness: HarnessFactory, tmp_path: Path
) -> None:
    gate = tmp_path / "gate"
    command = f"[ $KNOCKON_ATTEMPT -gt 1 ] || while [ ! -e {gate} ]; do sleep 0.05; done"
    harness = await make_harness(more_jobs=shell(command))
    harness.services.start(*SERVICES, patch=_SHORT_SESSION)
    await harness.produce(1)
    await harness.until(
        lambda: harness.scalar(f"SELECT count(*) = 1 {_OF_JOB} AND status = 'running'")
    )
    holder = harness.scalar(f"SELECT worker_id {_OF_JOB}")
    harness.services.freeze("worker")
    harness.services.start("worker-2")
    await harness.assert_consistent()
    gate.touch()
    harness.services.thaw("worker")
    await harness.until(lambda: harness.services.logged("worker", "task lost"))
    [(attempts, status, done_by)] = harness.rows(f"SELECT attempts, status, worker_id {_OF_JOB}")
    assert (attempts, status) == (2, "succeeded")
    assert done_by != holder
    await harness.assert_consistent()
    harness.observations |= {"attempts": attempts, "late completions refused": 1}


@long_run_only
@pytest.mark.parametrize(
    ("name", "table"),
    [("consume", "data_invalidations"), ("engine", "plans"), ("worker", "made.by_region")],
)
async def test_process_is_frozen_within_a_transaction(
    harness: Harness, name: str, table: str
) -> None:
    """Other processes continue while one is frozen; the minute is shortened to 3 seconds."""
    harness.services.start(*SERVICES, patch=_SHORT_SESSION)
    await harness.produce(50)
    await harness.wait_until_idle()
    with harness.connect() as holding, holding.transaction():
        holding.execute(f"LOCK TABLE {table} IN SHARE ROW EXCLUSIVE MODE".encode())
        await harness.produce(50)
        await harness.until(lambda: harness.scalar(LOCK_WAITERS) > 0)
        harness.services.freeze(name)
    harness.services.start(f"{name}-2", patch=_SHORT_SESSION)
    await harness.assert_consistent()
    harness.services.thaw(name)
    await harness.produce(50)
    await harness.assert_consistent()
    harness.observations["frozen"] = name


@long_run_only
async def test_competing_workers_run_each_task_once(
    make_harness: HarnessFactory, tmp_path: Path
) -> None:
    runs = tmp_path / "runs"
    command = (
        f"echo $KNOCKON_TASK_ID begin >> {runs}; sleep 0.02; echo $KNOCKON_TASK_ID end >> {runs}"
    )
    harness = await make_harness(more_jobs=shell(command))
    harness.services.start("engine", "consume", "worker", "worker-2", "worker-3")
    for _ in range(rounds(2)):
        await harness.produce(200)
    await harness.assert_consistent()
    lines = runs.read_text().split("\n")[:-1]
    done = harness.rows(f"SELECT t.id::text {_OF_JOB} AND status = 'succeeded'")
    assert sorted(lines) == sorted(
        f"{task} {edge}" for (task,) in done for edge in ("begin", "end")
    )
    harness.observations |= {"workers": 3, "tasks": len(done), "runs": len(lines) // 2}


@long_run_only
async def test_competing_engines_plan_each_invalidation_once(harness: Harness) -> None:
    engines = ("engine", "engine-2", "engine-3")
    harness.services.start("worker", "consume", *engines)
    for _ in range(rounds(4)):
        await harness.produce(harness.rng.randrange(1, 200))
        harness.services.restart(harness.rng.choice(engines))
        harness.count("kills of engines")
    await harness.assert_consistent()
    planned = harness.rows(
        "SELECT invalidation_id FROM plans, unnest(invalidation_ids) AS invalidation_id"
    )
    invalidations = harness.rows("SELECT id FROM data_invalidations")
    assert sorted(planned) == sorted(invalidations)
    harness.observations |= {
        "engines": len(engines),
        "plans": harness.scalar("SELECT count(*) FROM plans"),
    }


@long_run_only
async def test_permanently_failed_job_is_retried_by_hand(
    make_harness: HarnessFactory, tmp_path: Path
) -> None:
    fixed = tmp_path / "fixed"
    harness = await make_harness(more_jobs=shell(f"test -e {fixed}", max_attempts=2))
    harness.services.start(*SERVICES)
    await harness.produce(1)
    await harness.until(
        lambda: harness.scalar(f"SELECT count(*) = 1 {_OF_JOB} AND status = 'failed'")
    )
    [(task, attempts)] = harness.rows(f"SELECT t.id::text, attempts {_OF_JOB}")
    downstream = (
        "SELECT count(*) FROM tasks t JOIN jobs j ON j.id = t.job_id WHERE j.name = 'downstream'"
    )
    assert attempts == 2
    assert harness.scalar(f"{downstream} AND status = 'blocked'") == 1
    fixed.touch()
    harness.services.call("tasks", "retry", task)
    await harness.assert_consistent()
    assert harness.scalar(f"{downstream} AND status = 'succeeded'") == 1
    harness.observations |= {"failed attempts": attempts, "requeued by hand": 1}
