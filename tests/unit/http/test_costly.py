"""Shares of orgs in the processes for costly operations."""

import asyncio
from collections.abc import Awaitable, Callable
from types import MappingProxyType
from uuid import UUID

import pytest

from engine.http import costly
from engine.http.costly import CostlyOperations
from engine.http.frames import CostlyOperation, Outcome, Start
from engine.model.states import Role
from engine.service.caller import Caller, Org

OURS, THEIRS = UUID(int=1), UUID(int=2)


async def nothing(_: Caller) -> None:
    """An operation."""


def operation(org: UUID) -> CostlyOperation:
    return CostlyOperation(nothing, Caller(Org(org, "x"), None, Role.READER), (), {}, None, "x")


class Process:
    """A process in which operations of one org wait for an event."""

    def __init__(self, run: Callable[[CostlyOperation], Awaitable[Outcome]]) -> None:
        self.run = run
        self.is_alive = True


class Opened:
    opening = MappingProxyType({})


async def test_an_org_never_occupies_all_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    going = asyncio.Event()
    running: list[UUID] = []

    async def run(of: CostlyOperation) -> Outcome:
        running.append(of.caller.org.id)
        if of.caller.org.id == OURS:
            await going.wait()
        return Outcome(b"{}")

    async def start(_: Start) -> Process:
        return Process(run)

    monkeypatch.setattr(costly._Process, "start", start)
    operations = CostlyOperations(Opened(), processes=3, seconds=60, most=10)  # type: ignore[arg-type]
    ours = [asyncio.create_task(operations.run(operation(OURS))) for _ in range(5)]
    await asyncio.sleep(0)
    assert await operations.run(operation(THEIRS)) == b"{}"
    assert running == [OURS, OURS, THEIRS]
    going.set()
    assert await asyncio.gather(*ours) == [b"{}"] * 5
    assert not operations._shares
