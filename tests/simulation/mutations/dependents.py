"""Mutations of the resolution of dependents: skipped, unblocked, and held tasks."""

from __future__ import annotations

from typing import Any

import engine.flow.execution.dependents
import engine.flow.execution.first_runs
from tests.simulation.mutations.registry import (
    LOST_WORK,
    Patch,
    around,
    classified,
    mutation,
    statement,
)


@classified(LOST_WORK)
def dependents_of_changed_inputs_are_skipped(patch: Patch) -> None:
    statement(
        patch,
        "tasks.unblock",
        "b.must_run OR b.id = ANY(%(triggered)b::uuid[]) OR EXISTS",
        "b.must_run OR b.id = ANY(%(triggered)b::uuid[]) AND false OR false AND EXISTS",
    )
    _nothing_is_stale(patch)


def _nothing_is_stale(patch: Patch) -> None:
    async def fresh(*_: Any) -> Any:
        return {}

    around(patch, engine.flow.execution.dependents, "stale_partitions", lambda _: fresh)


def ignore_declared_wrong(patch: Patch) -> None:
    """Skip tasks of partitions stale only by declaration."""

    def forgetful(stale_partitions: Any) -> Any:
        async def wrong(*params: Any) -> Any:
            stale = await stale_partitions(*params)
            rest = {
                subject: [reason for reason in reasons if reason.rule != "declared wrong"]
                for subject, reasons in stale.items()
            }
            return {subject: reasons for subject, reasons in rest.items() if reasons}

        return wrong

    around(patch, engine.flow.execution.dependents, "stale_partitions", forgetful)


@mutation
def nothing_is_ever_skipped(patch: Patch) -> None:
    statement(patch, "tasks.unblock", "b.must_run OR b.id", "true OR b.id")


@mutation
def a_skip_does_not_compare_versions(patch: Patch) -> None:
    _nothing_is_stale(patch)


@mutation
def one_of_several_blockers_is_enough(patch: Patch) -> None:
    open_statuses = "('blocked', 'queued', 'running', 'failed')"
    statement(patch, "tasks.unblock", open_statuses, "('blocked', 'queued', 'failed')")


@mutation
def a_failed_task_unblocks_its_dependents(patch: Patch) -> None:
    open_statuses = "('blocked', 'queued', 'running', 'failed')"
    statement(patch, "tasks.unblock", open_statuses, "('blocked', 'queued', 'running')")


@mutation
def wait_for_is_ignored(patch: Patch) -> None:
    around(patch, engine.flow.execution.first_runs, "missing_inputs", lambda _: lambda *a: None)


@mutation
def a_first_run_waits_forever(patch: Patch) -> None:
    around(
        patch, engine.flow.execution.first_runs, "missing_inputs", lambda _: lambda *a: {"x": ["y"]}
    )
