"""Successes of concurrent runs are recorded together, and each fails alone."""

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from uuid import UUID, uuid4

import pytest

from engine.errors import InvalidInput, LeaseLost, ServiceUnavailable
from engine.flow.execution.complete import complete_all
from engine.model.states import TaskStatus
from engine.model.task import Completion, Output
from engine.store.database import Database
from engine.worker.completer import Completer
from tests.support.worlds import World, job, source

_DAYS = "2013-02-01..2013-02-10"


class Recording:
    """Records in the database, and keeps the sizes of batches; ``failures`` come first."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.batches: list[int] = []
        self.failures: list[Exception] = []
        self.may_start = asyncio.Event()
        self.may_start.set()

    async def record(self, completions: Sequence[Completion]) -> set[UUID]:
        self.batches.append(len(completions))
        await self.may_start.wait()
        if self.failures:
            raise self.failures.pop(0)
        async with self.world.conn() as conn:
            return await complete_all(conn, self.world.org, completions)


@pytest.fixture
async def recording(database: Database) -> Recording:
    world = await World.made(database, source("orders"), job("made", "orders"))
    await world.changed("orders", _DAYS)
    return Recording(world)


@pytest.fixture
async def completions(recording: Recording) -> list[Completion]:
    return [Completion(lease, ()) for lease in await recording.world.claim(limit=10)]


def _replaced(completion: Completion, **changes: object) -> Completion:
    lease = replace(completion.lease, **changes)
    return Completion(lease, ())


async def _complete(completer: Completer, completions: Sequence[Completion]) -> list[object]:
    return await asyncio.gather(*map(completer.complete, completions), return_exceptions=True)


async def _statuses(recording: Recording) -> list[str]:
    rows = await recording.world.rows("SELECT status FROM tasks ORDER BY id")
    return [row["status"] for row in rows]


async def test_a_run_that_ends_alone_is_recorded_at_once(
    recording: Recording, completions: list[Completion]
) -> None:
    completer = Completer(recording.record)
    for completion in completions[:3]:
        await completer.complete(completion)
    assert recording.batches == [1, 1, 1]


async def test_runs_that_end_meanwhile_are_recorded_together(
    recording: Recording, completions: list[Completion]
) -> None:
    completer = Completer(recording.record)
    recording.may_start.clear()
    first = asyncio.create_task(completer.complete(completions[0]))
    await asyncio.sleep(0)
    others = asyncio.create_task(_complete(completer, completions[1:]))
    await asyncio.sleep(0.01)
    recording.may_start.set()
    await first
    assert await others == [None] * 9
    assert recording.batches == [1, 9]
    assert set(await _statuses(recording)) == {TaskStatus.SUCCEEDED}


async def test_a_lost_lease_is_reported_to_its_run_only(
    recording: Recording, completions: list[Completion]
) -> None:
    lost = _replaced(completions[4], token=uuid4())
    results = await _complete(Completer(recording.record), [*completions[:4], lost])
    assert results[:4] == [None] * 4
    assert isinstance(results[4], LeaseLost)


async def test_a_report_that_is_rejected_fails_alone(
    recording: Recording, completions: list[Completion]
) -> None:
    false = Completion(completions[3].lease, (Output("nothing", "2013-02-01"),))
    results = await _complete(
        Completer(recording.record), [*completions[:3], false, *completions[4:]]
    )
    assert isinstance(results.pop(3), InvalidInput)
    assert results == [None] * 9
    assert (await _statuses(recording)).count(TaskStatus.RUNNING) == 1


async def test_an_outage_fails_all_without_further_attempts(
    recording: Recording, completions: list[Completion]
) -> None:
    recording.failures = [ServiceUnavailable("away")]
    results = await _complete(Completer(recording.record), completions)
    assert [type(result) for result in results] == [ServiceUnavailable] * 10
    assert recording.batches == [10]


async def test_of_two_attempts_at_a_task_the_second_is_lost(
    recording: Recording, completions: list[Completion]
) -> None:
    results = await _complete(Completer(recording.record), [completions[0], completions[0]])
    assert results[0] is None
    assert isinstance(results[1], LeaseLost)


async def test_the_success_of_a_canceled_run_is_not_recorded(
    recording: Recording, completions: list[Completion]
) -> None:
    completer = Completer(recording.record)
    recording.may_start.clear()
    first, second = (
        asyncio.create_task(completer.complete(completion)) for completion in completions[:2]
    )
    await asyncio.sleep(0)
    second.cancel()
    recording.may_start.set()
    await first
    assert (await _statuses(recording)).count(TaskStatus.SUCCEEDED) == 1


async def test_closing_cancels_those_who_wait(
    recording: Recording, completions: list[Completion]
) -> None:
    completer = Completer(recording.record)
    recording.may_start.clear()
    waiting = [asyncio.create_task(completer.complete(each)) for each in completions[:2]]
    await asyncio.sleep(0)
    await completer.close()
    with pytest.raises(asyncio.CancelledError):
        await waiting[0]
    assert waiting[1].cancelled()
    assert set(await _statuses(recording)) == {TaskStatus.RUNNING}
