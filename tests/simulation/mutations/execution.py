"""Mutations of execution: claims, leases, cursors, cancellations, and recorded inputs."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import engine.flow.execution.cancel
import engine.flow.execution.claim
import engine.flow.execution.complete
import engine.flow.execution.cursors
import engine.flow.execution.fail
from tests.simulation.mutations.registry import (
    EVIDENCE,
    LOST_WORK,
    Patch,
    around,
    classified,
    mutation,
    nothing,
    statement,
)


@mutation
def a_concurrency_limit_is_ignored(patch: Patch) -> None:
    async def free(*_: Any) -> dict[Any, int]:
        return {}

    around(patch, engine.flow.execution.claim, "_free_slots", lambda _: free)


@mutation
def a_stale_token_is_accepted(patch: Patch) -> None:
    async def all_of_them(conn: Any, completions: Any) -> Any:
        return {
            done.lease.task_id: SimpleNamespace(lease_token=done.lease.token, propagated=None)
            for done in completions
        }

    around(patch, engine.flow.execution.complete, "_lock_leased", lambda _: all_of_them)


@mutation
def a_reaped_lease_is_still_valid(patch: Patch) -> None:
    """Let the previous holder complete a task until the next claim."""
    statement(
        patch,
        "tasks.lock_leased",
        "AND t.lease_token = v.token",
        "AND t.status IN ('running', 'queued')",
    )


@classified(LOST_WORK)
def a_failed_task_counts_as_skipped(patch: Patch) -> None:
    statement(patch, "tasks.give_up", "SET status = 'failed'", "SET status = 'skipped'")


@classified(LOST_WORK)
def a_late_result_is_not_invalidated(patch: Patch) -> None:
    """Let readers that have run without the result of a failed task miss it."""
    statement(patch, "tasks.propagate_nothing", "WHERE id", "WHERE false AND id")


@mutation
def an_expired_lease_is_never_reaped(patch: Patch) -> None:
    statement(patch, "tasks.lock_expired", "status = 'running'", "status = 'failed'")


@classified(EVIDENCE)
def cancel_does_not_mark_partitions_unverified(patch: Patch) -> None:
    """Skip the marks of a cancellation.

    A later run for another column includes the canceled change, but gives a new version only to its
    own column, so readers of the others look fresh.
    """
    around(patch, engine.flow.execution.cancel, "mark_unverified", lambda _: nothing)


@mutation
def a_cursor_moves_back(patch: Patch) -> None:
    async def always(*_: Any) -> bool:
        return True

    around(patch, engine.flow.execution.cursors, "_is_forward", lambda _: always)


@mutation
def a_cursor_moves_too_far(patch: Patch) -> None:
    def hasty(move: Any) -> Any:
        async def wrong(conn: Any, done: Any) -> None:
            further = {dataset: str(int(value) + 1) for dataset, value in done.cursors.items()}
            await move(conn, replace(done, cursors=further))

        return wrong

    around(patch, engine.flow.execution.complete, "move_cursors", hasty)


@classified(EVIDENCE)
def inputs_are_recorded_as_of_completion(patch: Patch) -> None:
    """Treat changes during the run as read."""

    def late(inputs: Any) -> Any:
        def wrong(completions: Any) -> Any:
            recorded = inputs(completions)
            now = datetime.now(UTC) + timedelta(days=2)
            return {**recorded, "versions": [version and now for version in recorded["versions"]]}

        return wrong

    around(patch, engine.flow.execution.complete, "_inputs", late)


@classified(EVIDENCE)
def partial_writes_count_as_unwritten(patch: Patch) -> None:
    for owner in (engine.flow.execution.cancel, engine.flow.execution.fail):
        around(patch, owner, "mark_partly_written", lambda _: nothing)


@classified(EVIDENCE)
def a_partly_written_output_keeps_its_fingerprint(patch: Patch) -> None:
    """Let a run with the content before a partial write count as unchanged, although it is read."""
    statement(
        patch,
        "partitions.discard_fingerprints",
        "CASE WHEN NOT %(partly_written)s THEN coalesce(p.fingerprint,",
        "CASE WHEN true THEN coalesce(p.fingerprint,",
    )


@mutation
def unplanned_outputs_are_not_announced(patch: Patch) -> None:
    around(
        patch, engine.flow.execution.complete, "unplanned_outputs", lambda _: lambda completion: ()
    )
