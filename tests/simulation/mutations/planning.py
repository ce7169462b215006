"""Mutations of planning: edges, columns, and the review of plans."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from msgspec.structs import replace as replace_struct

import engine.flow.deployment.apply
import engine.flow.planning.appear
import engine.flow.planning.approve
import engine.flow.planning.decision
import engine.flow.planning.plan
import engine.planner.bounds
import engine.planner.closure
import engine.planner.edge
import engine.planner.strategy
from engine.lineage.columns import ALL_COLUMNS
from engine.lineage.graph import Lineage
from engine.lineage.rows import RowFilter
from tests.simulation.mutations.registry import (
    EVIDENCE,
    INGEST,
    LOST_WORK,
    Patch,
    around,
    classified,
    mutation,
    nothing,
    statement,
)


@mutation
def partitions_that_appear_are_not_invalidated(patch: Patch) -> None:
    around(patch, engine.flow.planning.appear, "unbuilt", lambda _: nothing)


@mutation
def partitions_are_built_before_they_appear(patch: Patch) -> None:
    def all_partitions(lineage: Any, job: Any, partitions: Any, *_: Any) -> Any:
        return partitions

    around(patch, engine.planner.bounds, "in_being", lambda _: all_partitions)


@classified(LOST_WORK)
def an_edge_is_not_followed(patch: Patch) -> None:
    around(patch, Lineage, "readers", lambda readers: lambda self, d: readers(self, d)[:1])


@classified(LOST_WORK)
def a_plan_executes_only_part_of_its_steps(patch: Patch) -> None:
    """Omit tasks for some jobs. Proposed plans are still executed in full."""

    def hasty(execute_plan: Any) -> Any:
        async def wrong(conn: Any, org: Any, decision: Any, plan_id: Any) -> Any:
            steps = decision.plan.steps[: len(decision.plan.steps) // 2 + 1]
            kept = replace(decision, plan=replace(decision.plan, steps=steps))
            return await execute_plan(conn, org, kept, plan_id)

        return wrong

    around(patch, engine.flow.planning.plan, "execute_plan", hasty)


@mutation
def a_column_that_shapes_every_other_is_pruned(patch: Patch) -> None:
    def narrow(propagate_columns: Any) -> Any:
        def wrong(columns: Any, dirty: Any) -> Any:
            narrowed = {c: to for c, to in (columns or {}).items() if to is not ALL_COLUMNS}
            if columns is None or dirty is ALL_COLUMNS:
                return ALL_COLUMNS
            return propagate_columns(narrowed, dirty)

        return wrong

    around(patch, engine.planner.edge, "propagate_columns", narrow)


@classified(LOST_WORK)
def unknown_columns_reach_nothing(patch: Patch) -> None:
    def narrow(propagate: Any) -> Any:
        def wrong(extents: Any, job: Any, edge: Any, dirty: Any, triggers: Any) -> Any:
            columns = frozenset() if dirty.columns is ALL_COLUMNS else dirty.columns
            return propagate(extents, job, edge, replace_struct(dirty, columns=columns), triggers)

        return wrong

    around(patch, engine.planner.closure, "propagate", narrow)


@mutation
def columns_are_ignored(patch: Patch) -> None:
    around(
        patch,
        engine.planner.edge,
        "propagate_columns",
        lambda _: lambda columns, dirty: ALL_COLUMNS,
    )


@mutation
def new_partitions_change_in_some_columns_only(patch: Patch) -> None:
    def unwidened(lineage: Any, invalidation: Any, *_: Any) -> Any:
        return invalidation

    around(patch, engine.flow.planning.decision, "_widened", lambda _: unwidened)


@mutation
def one_partition_of_several_is_recomputed(patch: Patch) -> None:
    def lazy(recomputed: Any) -> Any:
        def wrong(job: Any, extents: Any, triggers: Any) -> Any:
            whole = recomputed(job, extents, triggers)
            return triggers[0].partitions if job.strategy == "PerPartition" else whole

        return wrong

    around(patch, engine.planner.closure, "recomputed", lazy)


@mutation
def rows_behind_the_cursor_are_not_read_again(patch: Patch) -> None:
    around(patch, engine.planner.strategy, "_read_again", lambda _: lambda trigger: RowFilter())


@classified(LOST_WORK)
def a_single_run_propagates_the_columns_of_its_first_trigger(patch: Patch) -> None:
    def first(as_one: Any) -> Any:
        def wrong(job: Any, triggers: Any, scopes: Any, partitions: Any) -> Any:
            merged = as_one(job, triggers, scopes, partitions)
            return [replace_struct(scope, columns=scopes[0].columns) for scope in merged]

        return wrong

    around(patch, engine.planner.strategy, "_as_one", first)


@classified(LOST_WORK)
def a_second_change_of_a_dataset_in_one_plan_is_lost(patch: Patch) -> None:
    def once(spread: Any) -> Any:
        def wrong(self: Any, dataset: Any, scopes: Any) -> None:
            if dataset.int not in self._dirty:
                spread(self, dataset, scopes)

        return wrong

    around(patch, engine.planner.closure._Closure, "_spread", once)


@classified(INGEST)
def late_carry_over_is_lost(patch: Patch) -> None:
    """Set aside invalidations ingested during the deploy of their source.

    No other record of the change exists, so the audit has no evidence.
    """
    around(patch, engine.flow.planning.decision, "carry_late", lambda _: nothing)


@classified(INGEST)
def pending_invalidations_are_planned_anyway(patch: Patch) -> None:
    statement(patch, "invalidations.lock_open", "AND i.plan_id IS NULL", "")


@mutation
def a_paused_dataset_is_planned(patch: Patch) -> None:
    for name in ("planning_attempts.next_batch", "invalidations.lock_open"):
        statement(patch, name, "WHERE h.org_id", "WHERE false AND h.org_id")


@classified(INGEST)
def a_resume_drops_gathered_invalidations(patch: Patch) -> None:
    """Close the invalidations gathered during a pause, without any other record of the changes."""
    deleted = "DELETE FROM knockon.pauses\n"
    closed = """WITH closed AS (
        UPDATE knockon.data_invalidations SET processed_at = now(), outcome = 'not_current'
        WHERE org_id = %(org_id)s AND processed_at IS NULL AND plan_id IS NULL)
    """
    statement(patch, "pauses.delete", deleted, closed + deleted)


@classified(EVIDENCE)
def reject_leaves_no_mark(patch: Patch) -> None:
    around(patch, engine.flow.planning.approve, "_leave_all", lambda _: nothing)


@classified(EVIDENCE)
def apply_accepts_an_outdated_plan(patch: Patch) -> None:
    async def same(*_: Any) -> tuple[()]:
        return ()

    around(patch, engine.flow.deployment.apply, "changes_since", lambda _: same)


@classified(LOST_WORK)
def partitions_of_open_tasks_are_not_known(patch: Patch) -> None:
    producer = "WHERE t.job_id = %(producer)s"
    statement(patch, "partitions.known", producer, f"{producer} AND false")
