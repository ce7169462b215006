"""Short description of a world of tables."""

from __future__ import annotations

from tests.simulation.dimensions import Dimension
from tests.simulation.tables.generate import TableWorld


def described(world: TableWorld) -> list[str]:
    """Return a few lines per job."""
    lines = []
    for job in world.world.jobs:
        partitioning = " by ".join(map(_dimension, job.space)) or "unpartitioned"
        outputs = " and ".join(output.name for output in job.outputs)
        if job.is_source:
            kind = "view" if job.outputs[0].name in world.views else "table"
            lines.append(f"{job.name}: {kind} {outputs}, {partitioning}")
            continue
        reads = "; ".join(f"{read.dataset} {read.spec or 'inferred'}" for read in job.reads)
        lines.append(
            f"{job.name} produces {outputs} from {reads}, {partitioning}, {job.per_task} per task"
        )
        lines += [f"    {select.text}" for select in world.recipes[job.name].selects.values()]
    return lines


def _dimension(d: Dimension) -> str:
    zone = f" {d.zone}" if d.kind == "time" else ""
    return f"{d.name}:{d.grain or d.kind} {','.join(d.universe)}{zone}"
