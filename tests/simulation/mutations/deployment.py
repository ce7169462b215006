"""Mutations of deployment: rebuilt outputs, sources, cursors, and open tasks."""

from __future__ import annotations

from typing import Any

import engine.flow.deployment.builds
import engine.flow.deployment.prepared_deploy
import engine.lineage.diff
from engine.lineage.columns import PRUNED
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
def a_deploy_builds_nothing(patch: Patch) -> None:
    around(patch, engine.flow.deployment.prepared_deploy, "decide_own", lambda _: nothing_decided)


async def nothing_decided(*_: Any) -> None:
    """Return no decision."""


@mutation
def a_deploy_drops_canceled_rebuilds(patch: Patch) -> None:
    around(patch, engine.flow.deployment.builds, "canceled_rebuilds", lambda _: nothing)


@mutation
def a_changed_source_is_announced_in_its_own_dag_only(patch: Patch) -> None:
    around(
        patch, engine.flow.deployment.builds, "changed_sources_read_by_others", lambda _: nothing
    )


@mutation
def a_widened_source_inherits_no_partitions(patch: Patch) -> None:
    statement(patch, "partitions.inherit", "WHERE dataset_uuid", "WHERE false AND dataset_uuid")


@mutation
def a_deploy_leaves_the_tasks_of_old_jobs(patch: Patch) -> None:
    statement(patch, "tasks.cancel_of_jobs", "WHERE job_id", "WHERE false AND job_id")


@mutation
def changed_columns_of_a_source_rebuild_no_reader(patch: Patch) -> None:
    """Rebuild no reader after a deploy changes the columns of a source."""
    around(patch, engine.lineage.diff, "_other_columns", lambda _: lambda _old, _new: PRUNED)


@classified(EVIDENCE)
def cursors_survive_a_changed_job(patch: Patch) -> None:
    """Start a restored version from the cursors its jobs had when replaced."""
    statement(patch, "cursors.delete", "WHERE job_id", "WHERE false AND job_id")


@classified(LOST_WORK)
def a_job_that_is_no_longer_manual_is_not_rebuilt(patch: Patch) -> None:
    around(patch, engine.flow.deployment.builds, "previously_manual_outputs", lambda _: nothing)


@classified(LOST_WORK)
def readers_of_replaced_partitions_are_not_rebuilt(patch: Patch) -> None:
    around(patch, engine.flow.deployment.builds, "outputs_of_earlier_partitions", lambda _: nothing)


@mutation
def a_deploy_repoints_queued_tasks_only(patch: Patch) -> None:
    open_statuses = "('blocked', 'queued', 'running', 'failed')"
    statement(patch, "tasks.repoint", open_statuses, "('queued', 'running', 'failed')")


@classified(LOST_WORK)
def entering_partitions_are_not_built(patch: Patch) -> None:
    around(patch, engine.flow.deployment.builds, "of_entering_partitions", lambda _: nothing)


@mutation
def readers_of_leaving_partitions_are_not_rebuilt(patch: Patch) -> None:
    around(patch, engine.flow.deployment.builds, "of_other_inputs", lambda _: nothing)


@mutation
def bounds_are_part_of_the_definition(patch: Patch) -> None:
    """Rebuild datasets from scratch for any change of bounds, as earlier releases did."""
    around(patch, engine.lineage.diff, "has_same_definition", lambda _: has_equal_hash_and_bounds)


def has_equal_hash_and_bounds(old: Any, old_datasets: Any, new: Any, new_datasets: Any) -> bool:
    partitionings = ([each.partitioning for each in sets] for sets in (old_datasets, new_datasets))
    before, now = partitionings
    return old.config_hash == new.config_hash and before == now
