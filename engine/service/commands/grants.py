"""Grants of tables to the SQL jobs of orgs."""

from collections.abc import Sequence

import msgspec

from engine.model.states import Role
from engine.service.caller import Caller, requires
from engine.service.service import Service
from engine.store.grants import Access, grant_to_org, parse_grant, revoke_from_org

__all__ = ["Access", "TableGrant", "grant", "revoke"]


class TableGrant(msgspec.Struct, frozen=True):
    """Access of an org's SQL jobs to a table, or with ``create`` to a schema."""

    org: str
    table: str
    access: Access


@requires(Role.ADMIN, operator=True)
async def grant(
    caller: Caller, service: Service, org: str, table: str, access: Access
) -> TableGrant:
    """Grant a table to the SQL jobs of any org. Raises InvalidInput, UnknownName."""
    async with service.transaction(caller) as (conn, _):
        await grant_to_org(conn, org, parse_grant(table, access))
    return TableGrant(org, table, access)


@requires(Role.ADMIN, operator=True)
async def revoke(
    caller: Caller, service: Service, org: str, table: str, access: Access
) -> Sequence[str]:
    """Revoke a grant; return reasons for remaining access of the SQL jobs.

    Raises InvalidInput, UnknownName.
    """
    async with service.transaction(caller) as (conn, _):
        return await revoke_from_org(conn, org, parse_grant(table, access))
