"""Settings of an org."""

from enum import StrEnum
from typing import Literal

import msgspec

from engine.errors import InvalidInput
from engine.model.admission import Admission
from engine.model.states import Role
from engine.service.access_changes import record_change
from engine.service.caller import Caller, requires
from engine.service.service import Service
from engine.store.orgs import OrgSettings, admission, set_setting, settings
from engine.store.run import execute

_LARGEST_INT = 2**31 - 1
_LARGEST_QUOTA = 10**15


class Quota(StrEnum):
    """Name of a quota; see `engine.store.orgs.Quotas`."""

    UNFINISHED_TASKS = "unfinished_tasks"
    RUNNING_TASKS = "running_tasks"
    EVENTS_PER_SECOND = "events_per_second"
    PARTITIONS_PER_PLAN = "partitions_per_plan"
    LOG_BYTES = "log_bytes"
    JOBS = "jobs"


@requires(Role.ADMIN)
async def set_blast_radius(caller: Caller, service: Service, limit: int | None) -> OrgSettings:
    """Limit the partitions recomputed by a plan without approval; None for no limit."""
    if limit is not None and not 1 <= limit <= _LARGEST_INT:
        raise InvalidInput(f"{limit} is not a limit: give a number of partitions from 1, or none")
    return await _set(caller, service, "blast_radius", limit)


@requires(Role.ADMIN)
async def set_four_eyes(caller: Caller, service: Service, required: bool) -> OrgSettings:
    """Set whether a plan is approved only by another user than the one who has caused it."""
    return await _set(caller, service, "four_eyes", required)


@requires(Role.ADMIN, operator=True)
async def set_grants(
    caller: Caller, service: Service, grants: Literal["dag_files"] | None
) -> OrgSettings:
    """Set whether DAG files grant tables to the org's SQL jobs, or only operators do.

    Reserved for operators, because with ``dag_files`` a deploy grants every table in the DAG file.
    """
    return await _set(caller, service, "grants", grants)


@requires(Role.ADMIN, operator=True)
async def set_trusted(caller: Caller, service: Service, is_trusted: bool) -> OrgSettings:
    """Set whether members of the org may deploy trusted code and sources shared with other orgs."""
    return await _set(caller, service, "trusted", is_trusted)


@requires(Role.ADMIN)
async def set_admission(
    caller: Caller, service: Service, terms: Admission | None
) -> Admission | None:
    """Set who is admitted to the org through the identity provider; None: nobody.

    Sessions in browsers end, and groups are applied again with the next token of each person.
    """
    async with service.transaction(caller) as (conn, org):
        before = await admission(conn, org.id)
        if terms != before:
            await set_setting(conn, org.id, "admission", msgspec.to_builtins(terms))
            await execute(conn, "sessions.end_of_org", org_id=org.id)
            await execute(conn, "users.forget_groups", org_id=org.id)
            await record_change(
                conn,
                caller,
                "setting.changed",
                "admission",
                before={"admission": msgspec.to_builtins(before)},
                after={"admission": msgspec.to_builtins(terms)},
            )
        return terms


@requires(Role.ADMIN, operator=True)
async def set_quota(
    caller: Caller, service: Service, quota: Quota, limit: int | None
) -> OrgSettings:
    """Set a quota of the org; None for no limit. Reserved for operators."""
    if limit is not None and not 1 <= limit <= _LARGEST_QUOTA:
        raise InvalidInput(
            f"{limit} is no quota of {quota}: give a number from 1 to {_LARGEST_QUOTA:,}, or none"
        )
    return await _set(caller, service, quota, limit)


async def _set(caller: Caller, service: Service, name: str, value: int | str | None) -> OrgSettings:
    async with service.transaction(caller) as (conn, org):
        before = getattr(await settings(conn, org.id), name)
        await set_setting(conn, org.id, name, value)
        if value != before:
            await record_change(
                conn, caller, "setting.changed", name, before={name: before}, after={name: value}
            )
        return await settings(conn, org.id)
