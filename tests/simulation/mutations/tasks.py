"""Mutations of tasks: joins, dependencies, and hand-overs."""

from __future__ import annotations

from typing import Any

import engine.flow.planning.emit
import engine.flow.planning.planned_tasks
import engine.planner.blocks
import engine.planner.triggering_edges
from tests.simulation.mutations.dependents import ignore_declared_wrong
from tests.simulation.mutations.registry import (
    EVIDENCE,
    LOST_WORK,
    Patch,
    around,
    classified,
    mutation,
    statement,
)


@mutation
def a_running_task_is_joined(patch: Patch) -> None:
    def eager(_: Any) -> Any:
        def wrong(tasks: Any, unfinished: Any) -> None:
            for task in tasks:
                for row in unfinished.get(task.key, ()):
                    task.id, task.is_joined = row.id.bytes, True

        return wrong

    around(patch, engine.flow.planning.emit, "join_unstarted", eager)
    statement(
        patch, "tasks.join", "WHERE t.id = v.id", "WHERE t.id = v.id AND t.status <> 'running'"
    )


@mutation
def no_task_is_joined(patch: Patch) -> None:
    around(patch, engine.flow.planning.emit, "join_unstarted", lambda _: lambda tasks, rows: None)


@classified(LOST_WORK)
def a_dependency_is_dropped(patch: Patch) -> None:
    def forgetful(put: Any) -> Any:
        def wrong(tasks: Any, unfinished: Any) -> None:
            put(tasks, unfinished)
            for task in tasks:
                task.blockers = dict(list(task.blockers.items())[:1])

        return wrong

    around(patch, engine.flow.planning.emit, "add_blockers", forgetful)


@mutation
def tasks_of_other_plans_are_not_waited_for(patch: Patch) -> None:
    around(patch, engine.flow.planning.emit, "add_blockers", lambda put: lambda e, live: put(e, {}))


@mutation
def two_tasks_of_a_block_run_at_once(patch: Patch) -> None:
    """Run several tasks of a block at once: neither plans nor claims wait for a running task."""

    def hasty(find: Any) -> Any:
        def wrong(tasks: Any, unfinished: Any) -> None:
            find(tasks, unfinished)
            for task in tasks:
                task.blockers.clear()

        return wrong

    around(patch, engine.flow.planning.emit, "join_unstarted", hasty)
    statement(patch, "tasks.candidates", "AND r.status = 'running'", "AND r.status = 'nothing'")


@mutation
def a_hand_over_drops_partitions(patch: Patch) -> None:
    """Hand over no partitions to the successor of a failed task."""
    statement(
        patch, "tasks.hand_over", "unnest(t.partitions || e.partitions)", "unnest(t.partitions)"
    )


@classified(LOST_WORK)
def a_hand_over_drops_dependents(patch: Patch) -> None:
    """Resolve the dependents of a failed task as if its output were unchanged."""
    statement(patch, "tasks.hand_over", "WHERE d.depends_on =", "WHERE false AND d.depends_on =")


@classified(EVIDENCE)
def a_hand_over_drops_row_filters(patch: Patch) -> None:
    both = "jsonb_array_elements(t.row_filters || e.row_filters)"
    statement(patch, "tasks.hand_over", both, "jsonb_array_elements(t.row_filters)")


@classified(EVIDENCE)
def a_join_drops_row_filters(patch: Patch) -> None:
    both = "jsonb_array_elements(t.row_filters || v.row_filters)"
    statement(patch, "tasks.join", both, "jsonb_array_elements(t.row_filters)")


@classified(LOST_WORK)
def a_failed_task_is_joined_but_not_marked_to_run(patch: Patch) -> None:
    a_failed_task_is_joined_unmarked(patch)
    ignore_declared_wrong(patch)


def a_failed_task_is_joined_unmarked(patch: Patch) -> None:
    """Harmless alone: the task is not skipped, since its partitions are stale.

    They have newer inputs, or are partly written, declared wrong, or not built.
    """
    marked = "must_run = t.must_run OR v.must_run OR t.status = 'failed'"
    statement(
        patch, "tasks.join", marked, "must_run = v.must_run OR t.must_run AND t.status <> 'failed'"
    )


@classified(LOST_WORK)
def a_joined_task_waits_for_nothing_more(patch: Patch) -> None:
    """Add no dependencies to a joined task.

    Dropping only the datasets of a dependency would be harmless: a task not triggered by any
    dependency is skipped only if its partitions are not stale, and a change reaching the task
    leaves them stale.
    """
    added = "datasets uuid[])"
    statement(patch, "tasks.add_dependencies", added, f"{added} WHERE false")


@classified(LOST_WORK)
def a_joined_task_counts_as_propagated_in_all_columns(patch: Patch) -> None:
    merged = "merge_propagated(t.propagated, v.propagated,"
    statement(patch, "tasks.join", merged, "merge_propagated(NULL, v.propagated,")


@classified(LOST_WORK)
def a_block_must_run_only_if_all_its_partitions_must(patch: Patch) -> None:
    def all_of_them(step_blocks: Any) -> Any:
        def wrong(step: Any, job: Any) -> Any:
            invalidated = (
                {*step.directly_invalidated.space.keys(step.directly_invalidated)}
                if step.directly_invalidated
                else set()
            )
            for block_key, keys, must_run in step_blocks(step, job):
                yield (
                    block_key,
                    keys,
                    must_run and (job.is_single_run or invalidated.issuperset(keys)),
                )

        return wrong

    around(patch, engine.planner.blocks, "step_blocks", all_of_them)
    ignore_declared_wrong(patch)


@mutation
def every_task_of_a_step_is_reached_over_every_edge(patch: Patch) -> None:
    def everywhere(_: Any) -> Any:
        def wrong(step: Any, job: Any) -> Any:
            edges = engine.planner.triggering_edges._by_job(step.triggers)
            return lambda keys: edges

        return wrong

    around(patch, engine.flow.planning.planned_tasks, "triggering_edges_of", everywhere)


@classified(EVIDENCE)
def a_block_propagates_the_scopes_of_its_first_partition(patch: Patch) -> None:
    def of_first(propagated_scopes: Any) -> Any:
        def wrong(step: Any, job: Any) -> Any:
            of_keys = propagated_scopes(step, job)
            return lambda keys: of_keys(keys[:1])

        return wrong

    around(patch, engine.flow.planning.planned_tasks, "propagated_scopes", of_first)


@mutation
def a_blocked_successor_is_ignored(patch: Patch) -> None:
    """Requeue a failed attempt beside the task blocked behind it."""
    statement(patch, "tasks.lock_successor", "('blocked', 'queued')", "('queued')")


@mutation
def a_paused_job_is_claimed(patch: Patch) -> None:
    statement(patch, "tasks.candidates", "WHERE p.org_id", "WHERE false AND p.org_id")
