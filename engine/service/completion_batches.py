"""Successes of remote tasks that are reported at the same time, which share a transaction."""

from collections.abc import Mapping, Sequence
from uuid import UUID

import msgspec

from engine.errors import InvalidInput, KnockonError
from engine.flow.execution.complete import complete_all
from engine.flow.execution.worker_leases import held_leases, lease_lost
from engine.model.task import Completion, Lease, Output
from engine.model.task_token import TaskToken
from engine.service.batches import in_parts
from engine.service.caller import Caller
from engine.service.service import Service

Result = KnockonError | None


class Report(msgspec.Struct, frozen=True):
    """The success of a task; ``cursors`` maps followed datasets to the new values."""

    caller: Caller
    token: TaskToken
    outputs: tuple[Output, ...]
    cursors: Mapping[str, str]
    log: str


async def complete_together(
    service: Service, _org_id: UUID, reports: Sequence[Report]
) -> list[Result]:
    """Record the successes of tasks of one org; return the error of each report, or None."""
    return await in_parts(
        reports, lambda report: report.token, lambda part: _written(service, part)
    )


async def _written(service: Service, reports: Sequence[Report]) -> list[Result]:
    """Record successes in one transaction; after an error, which may be of any, each in its own."""
    try:
        return await _in_transaction(service, reports)
    except KnockonError as error:
        if len(reports) == 1:
            return [error]
    return [result for report in reports for result in await _written(service, [report])]


async def _in_transaction(service: Service, reports: Sequence[Report]) -> list[Result]:
    async with service.transaction(reports[0].caller) as (conn, org):
        leases = await held_leases(conn, [report.token for report in reports])
        completions = [
            _completion(leases[report.token].lease, report)
            for report in reports
            if report.token in leases
        ]
        completed = await complete_all(conn, org, completions)
    return [
        None
        if report.token in leases and report.token.task_id in completed
        else lease_lost(report.token.task_id)
        for report in reports
    ]


def _completion(lease: Lease, report: Report) -> Completion:
    return Completion(lease, report.outputs, _cursors(lease, report.cursors), report.log)


def _cursors(lease: Lease, named: Mapping[str, str]) -> dict[UUID, str]:
    """Return cursors by the ids of datasets. Raises InvalidInput for a dataset not followed."""
    followed = {each.name: each.dataset for each in lease.job.inputs if each.cursor is not None}
    for name in named:
        if name not in followed:
            raise InvalidInput(
                f"job {lease.job.name!r} does not follow dataset {name!r}: report cursors of "
                f"{', '.join(followed) or 'no dataset'}"
            )
    return {followed[name]: value for name, value in named.items()}
