"""Manual invalidations of concurrent calls, which share a transaction."""

from collections.abc import Sequence
from uuid import UUID

import msgspec

from consumers.manual import Request, Requested, invalidate_all
from engine.errors import KnockonError
from engine.flow.shared.org_context import OrgContext
from engine.service.batches import in_parts
from engine.service.caller import Caller
from engine.service.names import dataset_named
from engine.service.service import Service
from engine.service.visibility import Visibility
from engine.store.database import Connection

Result = Requested | KnockonError


class Call(msgspec.Struct, frozen=True):
    """A request with its caller, from whom the dataset may be hidden."""

    caller: Caller
    request: Request


async def invalidate_together(
    service: Service, _org_id: UUID, calls: Sequence[Call]
) -> list[Result]:
    """Write the invalidations of calls of one org; return the result or the error of each."""
    return await in_parts(
        calls, lambda call: call.request.position, lambda part: _written(service, part)
    )


async def _written(service: Service, calls: Sequence[Call]) -> list[Result]:
    """Write calls in one transaction, or after an error that may be of any, each in its own."""
    try:
        async with service.transaction(calls[0].caller) as (conn, org):
            return await _in_transaction(service, conn, org, calls)
    except KnockonError as error:
        if len(calls) == 1:
            return [error]
    return [result for call in calls for result in await _written(service, [call])]


async def _in_transaction(
    service: Service, conn: Connection, org: OrgContext, calls: Sequence[Call]
) -> list[Result]:
    lineage = await org.lineage(conn)
    visible: dict[frozenset[str] | None, Visibility] = {}
    errors: list[KnockonError | None] = []
    for call in calls:
        roles = None if call.caller.sees_everything else call.caller.org_roles
        if roles not in visible:
            visible[roles] = await service.visibility(call.caller, conn, org)
        try:
            dataset_named(lineage, call.request.event.dataset, visible[roles])
        except KnockonError as error:
            errors.append(error)
        else:
            errors.append(None)
    requests = [call.request for call, error in zip(calls, errors, strict=True) if error is None]
    written = iter(await invalidate_all(conn, org, requests))
    return [error or next(written) for error in errors]
