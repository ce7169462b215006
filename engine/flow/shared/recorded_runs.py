"""Recorded runs of single-run jobs, which may have found no partition."""

from collections.abc import Sequence
from uuid import UUID

from engine.lineage.graph import Lineage
from engine.store.database import Connection
from engine.store.rows.stale import BuiltDataset, RecordedRun
from engine.store.run import fetch


async def load_have_run(conn: Connection, lineage: Lineage, datasets: Sequence[UUID]) -> set[UUID]:
    """Return the outputs of single-run jobs whose current dataset version has a recorded run."""
    if not datasets:
        return set()
    runs = await fetch(
        conn,
        "stale.last_runs",
        RecordedRun,
        datasets=list(datasets),
        versions=[lineage.dataset(dataset).version for dataset in datasets],
    )
    return {dataset for dataset, run in zip(datasets, runs, strict=True) if run.task_id}


async def load_have_ever_run(conn: Connection, datasets: Sequence[UUID]) -> set[UUID]:
    """Return the datasets with a run, even if it has built an earlier dataset version."""
    rows = await fetch(conn, "stale.have_ever_run", BuiltDataset, datasets=list(datasets))
    return {row.id for row in rows}
