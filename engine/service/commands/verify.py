"""Verification of built partitions against a recomputation."""

import msgspec

from engine.errors import InvalidInput
from engine.lineage.graph import Lineage
from engine.model.job import Job
from engine.model.states import Role
from engine.service.caller import Caller, requires
from engine.service.names import dataset_named
from engine.service.service import Service
from engine.service.visibility import Visibility
from engine.worker.operators.sql.recompute import Comparison
from engine.worker.verification import Outcome, Verified, obstacle
from engine.worker.verification import verify as verify_jobs

__all__ = ["Comparison", "Outcome", "Unverifiable", "Verification", "Verified", "verify"]


class Unverifiable(msgspec.Struct, frozen=True):
    """A job whose partitions cannot be recomputed beside the existing data."""

    dag: str
    job: str
    reason: str


class Verification(msgspec.Struct, frozen=True):
    """Result of a verification; the ``seed`` repeats the sample."""

    seed: int
    partitions: tuple[Verified, ...]
    unverifiable: tuple[Unverifiable, ...]

    def count(self, outcome: Outcome) -> int:
        """Return the number of partitions with an outcome."""
        return sum(partition.outcome == outcome for partition in self.partitions)


@requires(Role.WRITER)
async def verify(
    caller: Caller, service: Service, dataset: str | None = None, *, share: float, seed: int
) -> Verification:
    """Verify a share of the partitions of the org or of one dataset, at least one of each job.

    The SELECTs run with the rights of the org, and everything they write is discarded.
    Raises UnknownName, and InvalidInput unless ``share`` is above 0 and at most 1.
    """
    if not 0 < share <= 1:
        raise InvalidInput(f"a sample of {share:.4%} is impossible: give more than 0 %, up to 100%")
    async with service.snapshot(caller) as (conn, org):
        lineage = await org.lineage(conn)
        visible = await service.visibility(caller, conn, org)
    jobs = _jobs(lineage, visible, dataset)
    partitions = [each async for each in verify_jobs(service.database, org, jobs, share, seed)]
    unverifiable = [
        Unverifiable(job.dag_name, job.name, reason) for job in jobs if (reason := obstacle(job))
    ]
    return Verification(seed, tuple(partitions), tuple(unverifiable))


def _jobs(lineage: Lineage, visible: Visibility, dataset: str | None) -> list[Job]:
    if dataset is not None:
        return [lineage.producer(dataset_named(lineage, dataset, visible).id)]
    return [job for job in visible.visible_jobs(lineage) if not job.is_source]
