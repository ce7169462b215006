"""Mutations of chains: jobs that read earlier partitions of their own output."""

from __future__ import annotations

from typing import Any

import engine.flow.execution.complete
import engine.flow.planning.emit
import engine.flow.planning.plan
from tests.simulation.mutations.registry import Patch, around, mutation, nothing


@mutation
def a_chain_ends_at_a_changed_partition(patch: Patch) -> None:
    around(patch, engine.flow.execution.complete, "_following", lambda _: nothing)


@mutation
def later_partitions_of_a_chain_are_lost(patch: Patch) -> None:
    def none(*_: Any) -> list[Any]:
        return []

    around(patch, engine.flow.planning.plan, "left_out", lambda _: none)


@mutation
def a_later_partition_does_not_wait_for_a_new_task(patch: Patch) -> None:
    def none(*_: Any) -> list[Any]:
        return []

    around(patch, engine.flow.planning.emit, "behind_earlier", lambda _: none)
