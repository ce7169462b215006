"""Invalidations raised by a deploy: new dataset versions, and outputs that it has made stale."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from uuid import UUID

from engine.flow.deployment.invalidations import (
    appearing_otherwise,
    canceled_rebuilds,
    changed_sources_read_by_others,
    changes_pruned_before,
    outputs_of_earlier_partitions,
    previously_manual_outputs,
)
from engine.flow.deployment.new_versions import NewVersion
from engine.flow.deployment.other_inputs import of_entering_partitions, of_other_inputs
from engine.flow.deployment.retained import retained
from engine.flow.shared.invalidations import NewInvalidation, definition_change
from engine.lineage.graph import Lineage
from engine.model.states import Activation
from engine.store.database import Connection
from engine.store.rows.tasks import CanceledTask


async def invalidations_of(
    conn: Connection,
    before: Lineage | None,
    lineage: Lineage,
    deployed: Sequence[NewVersion],
    canceled: Mapping[UUID, Sequence[CanceledTask]],
    now: datetime,
) -> list[NewInvalidation]:
    """Return the invalidations raised by new DAG versions.

    ``before`` is the lineage before the deploy; None if no job has changed. ``canceled`` are tasks
    by the id of the new version of their DAG.
    """
    created = {dataset for new in deployed for dataset in new.created}
    invalidations = [rebuild for new in deployed for rebuild in _rebuilds(new)]
    invalidations += await retained(conn, lineage, deployed, canceled, now)
    invalidations += await of_other_inputs(conn, before, lineage, deployed, created)
    for new in deployed:
        invalidations += [
            *await canceled_rebuilds(conn, lineage, new, canceled[new.id]),
            *await changed_sources_read_by_others(conn, lineage, new),
            *await outputs_of_earlier_partitions(conn, lineage, new, created),
            *await previously_manual_outputs(conn, lineage, new, now),
            *await appearing_otherwise(conn, lineage, new, now),
            *await changes_pruned_before(conn, before, lineage, new),
            *await of_entering_partitions(conn, before, lineage, new, now),
        ]
    return invalidations


def _rebuilds(new: NewVersion) -> Iterator[NewInvalidation]:
    """Yield invalidations of new versions of produced datasets, stale as a whole.

    Of manual jobs, only the partitions of the earlier version are rebuilt (see `retained`).
    """
    reactive = {
        output
        for job in new.compiled.jobs
        if job.activation == Activation.REACTIVE
        for output in job.outputs
    }
    for name, version in new.versions.created.items():
        if name in reactive:
            yield definition_change(new.versions.datasets[name], version)
