"""Engines, workers and consumers die, freeze and multiply."""

import asyncio
from pathlib import Path

import pytest

from tests.faults.conftest import Stager
from tests.faults.scene import SERVICES, WAITING, Scene, only_at_length, rounds

_SHELL = """
  - name: shell
    operator: shell
    max_attempts: {max_attempts}
    inputs: [orders]
    outputs: [{{dataset: shell, partitioning: regional}}]
    config: {{command: '{command}'}}
  - name: behind
    operator: shell
    inputs: [shell]
    outputs: [{{dataset: behind, partitioning: regional}}]
    config: {{command: 'true'}}
"""
_SHORT = """
from psycopg import sql
from engine.store import database
database._SESSION = sql.SQL(database._SESSION.as_string(None).replace("1min", "3s"))
"""
_OF_JOB = "FROM tasks t JOIN jobs j ON j.id = t.job_id WHERE j.name = 'shell'"


def shell(command: str, max_attempts: int = 1000) -> str:
    """A further job that runs a command, and a job downstream of it."""
    return _SHELL.format(command=command, max_attempts=max_attempts)


async def test_kills_of_any_process_at_any_moment(scene: Scene) -> None:
    scene.services.start(*SERVICES)
    for _ in range(rounds(6)):
        await scene.produce(scene.dice.randrange(1, 300))
        await asyncio.sleep(scene.dice.uniform(0, 1))  # a random moment
        victim = scene.dice.choice(SERVICES)
        scene.services.restart(victim)
        scene.count(f"kills of {victim}")
    await scene.assert_right()


async def test_a_worker_that_was_frozen_past_its_lease_is_refused(
    stage: Stager, tmp_path: Path
) -> None:
    gate = tmp_path / "gate"
    waits = f"[ $KNOCKON_ATTEMPT -gt 1 ] || while [ ! -e {gate} ]; do sleep 0.05; done"
    scene = await stage(more_jobs=shell(waits))
    scene.services.start(*SERVICES, patch=_SHORT)
    await scene.produce(1)
    await scene.until(lambda: scene.one(f"SELECT count(*) = 1 {_OF_JOB} AND status = 'running'"))
    holder = scene.one(f"SELECT worker_id {_OF_JOB}")
    scene.services.freeze("worker")
    scene.services.start("worker-2")
    await scene.assert_right()
    gate.touch()
    scene.services.thaw("worker")
    await scene.until(lambda: scene.services.logged("worker", "task lost"))
    [(attempts, status, done_by)] = scene.rows(f"SELECT attempts, status, worker_id {_OF_JOB}")
    assert (attempts, status) == (2, "succeeded")
    assert done_by != holder
    await scene.assert_right()
    scene.seen |= {"attempts": attempts, "late completions refused": 1}


@only_at_length
@pytest.mark.parametrize(
    ("name", "table"),
    [("consume", "data_invalidations"), ("engine", "plans"), ("worker", "made.by_region")],
)
async def test_frozen_within_a_transaction(scene: Scene, name: str, table: str) -> None:
    """Other processes continue while the process stays frozen; 3 seconds stand for a minute."""
    scene.services.start(*SERVICES, patch=_SHORT)
    await scene.produce(50)
    await scene.come_to_rest()
    with scene.connect() as holding, holding.transaction():
        holding.execute(f"LOCK TABLE {table} IN SHARE ROW EXCLUSIVE MODE".encode())
        await scene.produce(50)
        await scene.until(lambda: scene.one(WAITING) > 0)
        scene.services.freeze(name)
    scene.services.start(f"{name}-2", patch=_SHORT)
    await scene.assert_right()
    scene.services.thaw(name)
    await scene.produce(50)
    await scene.assert_right()
    scene.seen["frozen"] = name


@only_at_length
async def test_many_workers_never_run_one_task_twice(stage: Stager, tmp_path: Path) -> None:
    runs = tmp_path / "runs"
    said = f"echo $KNOCKON_TASK_ID begin >> {runs}; sleep 0.02; echo $KNOCKON_TASK_ID end >> {runs}"
    scene = await stage(more_jobs=shell(said))
    scene.services.start("engine", "consume", "worker", "worker-2", "worker-3")
    for _ in range(rounds(2)):
        await scene.produce(200)
    await scene.assert_right()
    lines = runs.read_text().split("\n")[:-1]
    done = scene.rows(f"SELECT t.id::text {_OF_JOB} AND status = 'succeeded'")
    assert sorted(lines) == sorted(
        f"{task} {edge}" for (task,) in done for edge in ("begin", "end")
    )
    scene.seen |= {"workers": 3, "tasks": len(done), "runs": len(lines) // 2}


@only_at_length
async def test_engines_beside_each_other_plan_each_fact_once(scene: Scene) -> None:
    engines = ("engine", "engine-2", "engine-3")
    scene.services.start("worker", "consume", *engines)
    for _ in range(rounds(4)):
        await scene.produce(scene.dice.randrange(1, 200))
        scene.services.restart(scene.dice.choice(engines))
        scene.count("kills of engines")
    await scene.assert_right()
    planned = scene.rows("SELECT fact FROM plans, unnest(invalidation_ids) AS fact")
    facts = scene.rows("SELECT id FROM data_invalidations")
    assert sorted(planned) == sorted(facts)
    scene.seen |= {"engines": len(engines), "plans": scene.one("SELECT count(*) FROM plans")}


@only_at_length
async def test_a_job_that_failed_for_good_is_requeued_by_hand(
    stage: Stager, tmp_path: Path
) -> None:
    mended = tmp_path / "mended"
    scene = await stage(more_jobs=shell(f"test -e {mended}", max_attempts=2))
    scene.services.start(*SERVICES)
    await scene.produce(1)
    await scene.until(lambda: scene.one(f"SELECT count(*) = 1 {_OF_JOB} AND status = 'failed'"))
    [(task, attempts)] = scene.rows(f"SELECT t.id::text, attempts {_OF_JOB}")
    waiting = "SELECT count(*) FROM tasks t JOIN jobs j ON j.id = t.job_id WHERE j.name = 'behind'"
    assert attempts == 2
    assert scene.one(f"{waiting} AND status = 'blocked'") == 1
    mended.touch()
    scene.services.call("tasks", "retry", task)
    await scene.assert_right()
    assert scene.one(f"{waiting} AND status = 'succeeded'") == 1
    scene.seen |= {"failed attempts": attempts, "requeued by hand": 1}
