"""Mutations of the engine, each of which the simulator must detect.

Each changes a single behavior. Changes of a statement assert the presence of the replaced text, and
replacements of a function its existence, so that an outdated mutation fails visibly.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest
from msgspec.structs import replace as replace_struct

import engine.flow.deployment.apply
import engine.flow.deployment.deploy
import engine.flow.execution.claim
import engine.flow.execution.complete
import engine.flow.execution.contents
import engine.flow.execution.cursors
import engine.flow.execution.dependents
import engine.flow.execution.fail
import engine.flow.execution.operator_actions
import engine.flow.execution.outputs
import engine.flow.ingestion.ingest
import engine.flow.planning.approve
import engine.flow.planning.decision
import engine.flow.planning.emit
import engine.flow.planning.plan
import engine.flow.planning.planned_tasks
import engine.lineage.content
import engine.lineage.diff
import engine.planner.blocks
import engine.planner.closure
import engine.planner.edge
import engine.planner.scope
import engine.planner.strategy
import engine.planner.triggering_edges
import engine.store.queries
import tests.simulation.engines
from engine.lineage.columns import ALL_COLUMNS, PRUNED
from engine.lineage.graph import Lineage
from engine.lineage.rows import RowFilter
from engine.partitions import PartitionSet
from engine.partitions.intervals import Intervals
from engine.partitions.mapping.mapping import Mapping
from engine.partitions.mapping.relation import Overlap, _shifted

Patch = pytest.MonkeyPatch
MUTATIONS: dict[str, Callable[[Patch], None]] = {}
CLASSES: dict[str, str] = {}
LOST_WORK = "lost work: repaired by the audit"
EVIDENCE = "corrupted evidence: caught by the simulator or verify"
INGEST = "corrupted ingest: caught by the simulator"


def classified(name: str) -> Callable[[Callable[[Patch], None]], Callable[[Patch], None]]:
    """Register a mutation with its class."""

    def register(mutate: Callable[[Patch], None]) -> Callable[[Patch], None]:
        CLASSES[mutate.__name__] = name
        return mutation(mutate)

    return register


def mutation(mutate: Callable[[Patch], None]) -> Callable[[Patch], None]:
    """Register a mutation under its name."""
    MUTATIONS[mutate.__name__] = mutate
    return mutate


def around(patch: Patch, owner: Any, name: str, make: Callable[[Any], Any]) -> None:
    """Replace a function by ``make(function)``."""
    patch.setattr(owner, name, make(getattr(owner, name)))


def statement(patch: Patch, name: str, old: str, new: str) -> None:
    """Change the text of a named statement."""
    text = engine.store.queries.query(name)
    assert old in text, f"{name} has no {old!r} any more: fix the mutation"
    patch.setitem(engine.store.queries._queries(), name, text.replace(old, new))


async def nothing(*_: Any, **__: Any) -> list[Any]:
    """Replace an operation by one without effect."""
    return []


# -- ingest ----------------------------------------------------------------------------------------


@mutation
def the_last_event_of_a_batch_is_lost(patch: Patch) -> None:
    def lossy(resolved: Any) -> Any:
        return lambda lineage, groups, earlier: resolved(lineage, groups[:-1], earlier)

    around(patch, engine.flow.ingestion.ingest, "_resolved", lossy)


@mutation
def coalescing_takes_the_columns_of_the_first(patch: Patch) -> None:
    def forgetful(coalesce: Any) -> Any:
        def wrong(resolved: Any) -> Any:
            return coalesce([replace(event, columns=resolved[0].columns) for event in resolved])

        return wrong

    around(patch, engine.flow.ingestion.ingest, "coalesce", forgetful)


@mutation
def a_position_is_not_compared(patch: Patch) -> None:
    statement(patch, "positions.advance", "AND position = %(before)s", "")


@mutation
def a_position_moves_without_its_invalidations(patch: Patch) -> None:
    """Advance the position in a separate transaction, before the invalidations."""

    def ahead(ingest: Any) -> Any:
        async def wrong(conn: Any, org: Any, batch: Any) -> Any:
            empty = msgspec.structs.replace(batch, received=())
            await ingest(conn, org, empty)
            return await ingest(conn, org, msgspec.structs.replace(batch, advances=()))

        return wrong

    around(patch, tests.simulation.engines, "ingest", ahead)


# -- plan ------------------------------------------------------------------------------------------


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
def a_row_filter_narrows_to_nothing(patch: Patch) -> None:
    around(patch, engine.planner.scope, "narrow", lambda _: lambda rows, space, parts: space.empty)


@mutation
def a_row_filter_on_partitions_is_ignored(patch: Patch) -> None:
    around(patch, engine.planner.scope, "narrow", lambda _: lambda rows, space, parts: parts)


@mutation
def a_row_filter_propagates_through_jobs_mixing_rows(patch: Patch) -> None:
    """Keep the filter's columns by name, whatever the job does with them."""

    def by_name(real: Any) -> Any:
        def wrong(self: RowFilter, passes: Any) -> Any:
            names = {c.column: [c.column] for c in self.conditions}
            return real(
                self, {**names, **{c: [*names.get(c, ()), *to] for c, to in passes.items()}}
            )

        return wrong

    around(patch, RowFilter, "propagate", by_name)


@mutation
def a_row_filter_selects_the_other_groups(patch: Patch) -> None:
    def narrow(real: Any) -> Any:
        def wrong(rows: Any, space: Any, parts: Any) -> Any:
            selected = real(rows, space, parts)
            return parts - selected if selected != parts else selected

        return wrong

    around(patch, engine.planner.edge, "narrow", narrow)


@mutation
def a_row_filter_stops_at_the_first_job(patch: Patch) -> None:
    around(patch, RowFilter, "propagate", lambda _: lambda self, passes: None)


@mutation
def a_window_is_one_short_downstream(patch: Patch) -> None:
    around(patch, Overlap, "down", lambda down: lambda self, keys: _short(down(self, keys)))


@mutation
def a_window_is_one_short_upstream(patch: Patch) -> None:
    around(patch, Overlap, "up", lambda up: lambda self, keys: _short(up(self, keys)))


@mutation
def a_window_is_one_too_long_downstream(patch: Patch) -> None:
    def long(self: Overlap, window: Intervals) -> Intervals:
        if not window or not window.is_finite:
            return window
        *head, (lo, hi) = window.spans
        return Intervals.of([*head, (lo, hi + 1)]) & self.target.universe

    around(patch, Overlap, "down", lambda down: lambda self, keys: long(self, down(self, keys)))


def _short(window: Intervals) -> Intervals:
    """Drop the last partition if there are two or more."""
    if not window.is_finite or window.count() < 2:
        return window
    *head, (lo, hi) = window.spans
    return Intervals.of([*head, (lo, hi - 1)])


@mutation
def the_first_partition_counts_as_the_last(patch: Patch) -> None:
    def first(self: Mapping, known: Any) -> Any:
        boxes = (known.boxes if known else ()) or self.source.universe.boxes
        return {
            i: self._last(i, min(b[i].spans[0][0] for b in boxes) + 1) for i in self.links.latest
        }

    around(patch, Mapping, "_latest", lambda _: first)


@mutation
def one_partition_of_several_is_recomputed(patch: Patch) -> None:
    def lazy(recomputed: Any) -> Any:
        def wrong(job: Any, extents: Any, triggers: Any) -> Any:
            whole = recomputed(job, extents, triggers)
            return triggers[0].partitions if job.strategy == "PerPartition" else whole

        return wrong

    around(patch, engine.planner.closure, "recomputed", lazy)


# -- emit ------------------------------------------------------------------------------------------


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


# -- claim and complete ----------------------------------------------------------------------------


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
    lock = "WHERE t.lease_token = v.token AND t.status = 'running'"
    statement(patch, "tasks.lock_leased", lock, "WHERE t.status IN ('running', 'queued')")


@mutation
def an_unchanged_result_counts_as_changed(patch: Patch) -> None:
    _report_as(patch, changed=True)


@mutation
def a_changed_result_counts_as_unchanged(patch: Patch) -> None:
    _report_as(patch, changed=False)


def _report_as(patch: Patch, *, changed: bool) -> None:
    def falsified(reports: Any) -> Any:
        return lambda lineage, done: (
            msgspec.structs.replace(
                report, output=dataclasses.replace(report.output, changed=changed)
            )
            for report in reports(lineage, done)
        )

    around(patch, engine.flow.execution.complete, "reports", falsified)


def _compared(patch: Patch, altered: Callable[[Any, Any, Any], Any]) -> None:
    """Alter the outcome of each comparison: ``altered(before, outcome, now)``."""

    def wrapped(compare: Any) -> Any:
        def compared(before: Any, written: Any, scopes: Any, now: Any) -> Any:
            return altered(before, compare(before, written, scopes, now), now)

        return compared

    around(patch, engine.flow.execution.contents, "compare", wrapped)


def _with_content(outcome: Any, **fields: Any) -> Any:
    content = msgspec.structs.replace(outcome.content, **fields)
    return msgspec.structs.replace(outcome, content=content)


@mutation
def a_content_version_moves_back(patch: Patch) -> None:
    _compared(patch, lambda before, outcome, now: _with_content(outcome, changed_at=now))


@mutation
def an_unchanged_version_is_bumped(patch: Patch) -> None:
    def bumped(before: Any, outcome: Any, now: Any) -> Any:
        at = max(now, outcome.content.changed_at)
        return _with_content(outcome, changed_at=at, column_versions=None)

    _compared(patch, bumped)


@mutation
def all_columns_of_a_changed_partition_count_as_changed(patch: Patch) -> None:
    def widened(before: Any, outcome: Any, now: Any) -> Any:
        if outcome.columns is PRUNED:
            return outcome
        return msgspec.structs.replace(outcome, columns=ALL_COLUMNS)

    _compared(patch, widened)


@mutation
def a_column_that_changed_keeps_its_version(patch: Patch) -> None:
    def kept(before: Any, outcome: Any, now: Any) -> Any:
        if before is None or outcome.content.column_versions is None:
            return outcome
        versions = before.column_versions or {"*": before.changed_at}
        return _with_content(outcome, column_versions=versions)

    _compared(patch, kept)


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


@mutation
def rows_behind_the_cursor_are_not_read_again(patch: Patch) -> None:
    around(patch, engine.planner.strategy, "_read_again", lambda _: lambda trigger: RowFilter())


@mutation
def unplanned_outputs_are_not_announced(patch: Patch) -> None:
    around(
        patch, engine.flow.execution.complete, "unplanned_outputs", lambda _: lambda completion: ()
    )


# -- dependents ------------------------------------------------------------------------------------


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
    around(patch, engine.flow.execution.dependents, "missing_inputs", lambda _: lambda *a: None)


@mutation
def a_first_run_waits_forever(patch: Patch) -> None:
    around(
        patch, engine.flow.execution.dependents, "missing_inputs", lambda _: lambda *a: {"x": ["y"]}
    )


# -- fail, reap, deploy ----------------------------------------------------------------------------


@mutation
def a_hand_over_drops_partitions(patch: Patch) -> None:
    """Hand over no partitions to the successor of a failed task."""
    statement(
        patch, "tasks.hand_over", "unnest(t.partitions || e.partitions)", "unnest(t.partitions)"
    )


@classified(LOST_WORK)
def a_failed_task_counts_as_skipped(patch: Patch) -> None:
    statement(patch, "tasks.give_up", "SET status = 'failed'", "SET status = 'skipped'")


@mutation
def an_expired_lease_is_never_reaped(patch: Patch) -> None:
    statement(patch, "tasks.lock_expired", "status = 'running'", "status = 'failed'")


@mutation
def a_deploy_builds_nothing(patch: Patch) -> None:
    around(patch, engine.flow.deployment.deploy, "_build", lambda _: nothing_built)


async def nothing_built(*_: Any) -> int:
    return 0


@mutation
def a_deploy_drops_canceled_rebuilds(patch: Patch) -> None:
    around(patch, engine.flow.deployment.deploy, "canceled_rebuilds", lambda _: nothing)


@mutation
def a_changed_source_is_announced_in_its_own_dag_only(patch: Patch) -> None:
    around(
        patch, engine.flow.deployment.deploy, "changed_sources_read_by_others", lambda _: nothing
    )


@mutation
def a_widened_source_inherits_no_partitions(patch: Patch) -> None:
    statement(patch, "partitions.inherit", "WHERE dataset_uuid", "WHERE false AND dataset_uuid")


@mutation
def a_deploy_leaves_the_tasks_of_old_jobs(patch: Patch) -> None:
    statement(patch, "tasks.cancel_of_jobs", "WHERE job_id", "WHERE false AND job_id")


# -- faults that a refactoring could introduce -----------------------------------------------------


@classified(EVIDENCE)
def cancel_does_not_mark_partitions_unverified(patch: Patch) -> None:
    """Skip the marks of a cancellation.

    A later run for another column includes the canceled change, but gives a new version only to its
    own column, so readers of the others look fresh.
    """
    around(patch, engine.flow.execution.operator_actions, "mark_unverified", lambda _: nothing)


@mutation
def changed_columns_of_a_source_rebuild_no_reader(patch: Patch) -> None:
    """Rebuild no reader after a deploy changes the columns of a source."""
    around(patch, engine.lineage.diff, "_other_columns", lambda _: lambda _old, _new: PRUNED)


@classified(LOST_WORK)
def a_hand_over_drops_dependents(patch: Patch) -> None:
    """Resolve the dependents of a failed task as if its output were unchanged."""
    statement(patch, "tasks.hand_over", "WHERE d.depends_on =", "WHERE false AND d.depends_on =")


@classified(INGEST)
def late_carry_over_is_lost(patch: Patch) -> None:
    """Set aside invalidations ingested during the deploy of their source.

    No other record of the change exists, so the audit has no evidence.
    """
    around(patch, engine.flow.planning.decision, "carry_late", lambda _: nothing)


@classified(EVIDENCE)
def marking_a_partition_keeps_its_fingerprint(patch: Patch) -> None:
    old = """        NULL,
        CASE WHEN p.attributed_fingerprints IS NULL
             THEN p.column_fingerprints - %(columns)s::text[] END,
        NULL::jsonb, NULL::bigint"""
    new = "p.fingerprint, p.column_fingerprints, p.attributed_fingerprints, p.row_count"
    statement(patch, "partitions.mark_changed", old, new)


@classified(EVIDENCE)
def a_join_drops_row_filters(patch: Patch) -> None:
    both = "jsonb_array_elements(t.row_filters || v.row_filters)"
    statement(patch, "tasks.join", both, "jsonb_array_elements(t.row_filters)")


@classified(LOST_WORK)
def a_failed_task_is_joined_but_not_marked_to_run(patch: Patch) -> None:
    a_failed_task_is_joined_unmarked(patch)
    _ignore_declared_wrong(patch)


def a_failed_task_is_joined_unmarked(patch: Patch) -> None:
    """Harmless alone: the task is not skipped, since its partitions are stale.

    They have newer inputs, or are partly written, declared wrong, or not built.
    """
    marked = "must_run = t.must_run OR v.must_run OR t.status = 'failed'"
    statement(
        patch, "tasks.join", marked, "must_run = v.must_run OR t.must_run AND t.status <> 'failed'"
    )


def _ignore_declared_wrong(patch: Patch) -> None:
    """Skip tasks of partitions stale only by declaration."""

    def forgetful(stale_partitions: Any) -> Any:
        async def wrong(*given: Any) -> Any:
            stale = await stale_partitions(*given)
            rest = {
                subject: [reason for reason in reasons if reason.rule != "declared wrong"]
                for subject, reasons in stale.items()
            }
            return {subject: reasons for subject, reasons in rest.items() if reasons}

        return wrong

    around(patch, engine.flow.execution.dependents, "stale_partitions", forgetful)


@classified(EVIDENCE)
def cursors_survive_a_changed_job(patch: Patch) -> None:
    """Start a restored version from the cursors its jobs had when replaced."""
    statement(patch, "cursors.delete", "WHERE job_id", "WHERE false AND job_id")


@classified(INGEST)
def ingest_drops_columns_and_rows(patch: Patch) -> None:
    widened = {"columns": None, "row_filter": None}
    around(
        patch, engine.flow.ingestion.ingest, "_parameters", lambda of: lambda one: of(one) | widened
    )


@classified(INGEST)
def ingest_widens_everything(patch: Patch) -> None:
    """Widen every invalidation of partitions to the whole dataset."""

    def wide(resolve: Any) -> Any:
        def wrong(lineage: Any, *received: Any, earlier: Any) -> Any:
            resolved = resolve(lineage, *received, earlier=earlier)
            is_finite = resolved.partitions is not None and resolved.space.universe.is_finite
            if not is_finite:
                return resolved
            return replace(resolved, partitions=resolved.space.universe)

        return wrong

    around(patch, engine.flow.ingestion.ingest, "resolve", wide)


@classified(LOST_WORK)
def first_outputs_of_narrow_plans_do_not_invalidate_their_readers(patch: Patch) -> None:
    def as_planned(before: Any, outcome: Any, now: Any) -> Any:
        return outcome if before else msgspec.structs.replace(outcome, unpropagated=PRUNED)

    _compared(patch, as_planned)


# -- a second series, independent of the simulator's generators ------------------------------------


@classified(EVIDENCE)
def reject_leaves_no_mark(patch: Patch) -> None:
    around(patch, engine.flow.planning.approve, "_leave_all", lambda _: nothing)


@classified(INGEST)
def a_refused_letter_counts_as_replayed(patch: Patch) -> None:
    """Drop the error of a letter rejected again, and hide the letter."""
    statement(patch, "dead_letters.insert", "replayed_at = NULL", "replayed_at = now()")


@classified(EVIDENCE)
def apply_accepts_an_outdated_plan(patch: Patch) -> None:
    async def same(*_: Any) -> tuple[()]:
        return ()

    around(patch, engine.flow.deployment.apply, "changes_since", lambda _: same)


@mutation
def a_blocked_successor_is_ignored(patch: Patch) -> None:
    """Requeue a failed attempt beside the task blocked behind it."""
    statement(patch, "tasks.lock_successor", "('blocked', 'queued')", "('queued')")


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


@classified(INGEST)
def pending_invalidations_are_planned_anyway(patch: Patch) -> None:
    statement(patch, "invalidations.lock_open", "AND i.plan_id IS NULL", "")


@classified(LOST_WORK)
def a_job_that_is_no_longer_manual_is_not_rebuilt(patch: Patch) -> None:
    around(patch, engine.flow.deployment.deploy, "previously_manual_outputs", lambda _: nothing)


@classified(LOST_WORK)
def readers_of_replaced_partitions_are_not_rebuilt(patch: Patch) -> None:
    around(patch, engine.flow.deployment.deploy, "outputs_of_earlier_partitions", lambda _: nothing)


@classified(LOST_WORK)
def a_joined_task_waits_for_nothing_more(patch: Patch) -> None:
    """Add no dependencies to a joined task.

    Dropping only the datasets of a dependency would be harmless: a task not triggered by any
    dependency is skipped only if its partitions are not stale, and a change reaching the task
    leaves them stale.
    """
    added = "datasets uuid[])"
    statement(patch, "tasks.add_dependencies", added, f"{added} WHERE false")


@mutation
def a_deploy_repoints_queued_tasks_only(patch: Patch) -> None:
    open_statuses = "('blocked', 'queued', 'running', 'failed')"
    statement(patch, "tasks.repoint", open_statuses, "('queued', 'running', 'failed')")


@classified(EVIDENCE)
def partial_writes_count_as_unwritten(patch: Patch) -> None:
    for owner in (engine.flow.execution.operator_actions, engine.flow.execution.fail):
        around(patch, owner, "mark_partly_written", lambda _: nothing)


# -- reports with gaps -----------------------------------------------------------------------------


@classified(EVIDENCE)
def unreported_outputs_count_as_unwritten(patch: Patch) -> None:
    around(
        patch,
        engine.flow.execution.outputs,
        "_outputs",
        lambda _: lambda completion: completion.outputs,
    )


@classified(EVIDENCE)
def incomplete_fingerprints_count_as_complete(patch: Patch) -> None:
    around(
        patch,
        engine.flow.execution.outputs,
        "_complete_fingerprints",
        lambda _: lambda lineage, dataset, fingerprints: fingerprints,
    )
    around(
        patch,
        engine.flow.execution.outputs,
        "_combined_fingerprint",
        lambda _: lambda lineage, dataset, fingerprints: str(fingerprints),
    )


# -- a third series, independent of the drills -----------------------------------------------------


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


@classified(EVIDENCE)
def a_scope_that_was_never_compared_counts_as_compared_last(patch: Patch) -> None:
    def last(before: Any, scope: Any) -> Any:
        return (before.attributed or {}).get(scope.key, before.fingerprint)

    around(patch, engine.lineage.content, "_base", lambda _: last)


@classified(LOST_WORK)
def a_joined_task_counts_as_propagated_in_all_columns(patch: Patch) -> None:
    merged = "merge_propagated(t.propagated, v.propagated,"
    statement(patch, "tasks.join", merged, "merge_propagated(NULL, v.propagated,")


@classified(EVIDENCE)
def a_hand_over_drops_row_filters(patch: Patch) -> None:
    both = "jsonb_array_elements(t.row_filters || e.row_filters)"
    statement(patch, "tasks.hand_over", both, "jsonb_array_elements(t.row_filters)")


@classified(LOST_WORK)
def a_set_covers_what_it_overlaps(patch: Patch) -> None:
    around(patch, PartitionSet, "covers", lambda _: lambda self, other: bool(self & other))


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
    _ignore_declared_wrong(patch)


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


@classified(LOST_WORK)
def partitions_of_open_tasks_are_not_known(patch: Patch) -> None:
    producer = "WHERE t.job_id = %(producer)s"
    statement(patch, "partitions.known", producer, f"{producer} AND false")


@mutation
def a_window_is_not_mirrored_downstream(patch: Patch) -> None:
    def straight(self: Overlap, touched: Intervals) -> Intervals:
        aligned = self.target.overlapping(self.source.windows(touched))
        return _shifted(aligned, self.first, self.last) & self.target.universe

    around(patch, Overlap, "down", lambda _: straight)
