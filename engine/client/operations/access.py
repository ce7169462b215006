"""Operations on users, roles, keys, webhooks and settings."""

from collections.abc import Sequence

from engine.client.operations.sending import sends, user_id
from engine.client.server import AsyncServer
from engine.model.admission import Admission
from engine.model.states import AWAITED_KINDS, EventKind, KeyScope, Receiver, Role
from engine.service.commands.api_keys import CreatedKey, create_key, revoke_key
from engine.service.commands.org_roles import (
    NamedOrgRole,
    add_org_role,
    grant_org_role,
    remove_org_role,
    revoke_org_role,
)
from engine.service.commands.orgs import set_admission, set_blast_radius, set_four_eyes
from engine.service.commands.users import NamedUser, add_user, remove_user, set_user_role
from engine.service.commands.webhooks import AddedWebhook, add_webhook, remove_webhook
from engine.service.queries.identity import (
    AccessChange,
    KeyRow,
    OrgRole,
    User,
    access_changes,
    admission,
    api_keys,
    org_roles,
    users,
)
from engine.service.queries.orgs import OrgSettings, settings
from engine.service.queries.usage import Usage, usage
from engine.service.queries.webhooks import WebhookRow, webhooks


@sends(settings)
async def _settings(server: AsyncServer) -> OrgSettings:
    return await server.org.get()


@sends(usage)
async def _usage(server: AsyncServer) -> Usage:
    return await server.org.usage()


@sends(admission)
async def _admission(server: AsyncServer) -> Admission | None:
    return (await server.org.admission()).admission


@sends(set_admission)
async def _set_admission(server: AsyncServer, terms: Admission | None) -> Admission | None:
    if terms is None:
        return (await server.org.set_admission(None)).admission
    admitted = await server.org.set_admission(
        terms.issuer,
        creates_users=terms.creates_users,
        default_role=terms.default_role,
        roles=terms.roles,
        org_roles=terms.org_roles,
    )
    return admitted.admission


@sends(set_blast_radius)
async def _set_blast_radius(server: AsyncServer, limit: int | None) -> OrgSettings:
    return await server.org.set_blast_radius(limit)


@sends(set_four_eyes)
async def _set_four_eyes(server: AsyncServer, required: bool) -> OrgSettings:
    return await server.org.set_four_eyes(required)


@sends(users)
async def _users(server: AsyncServer) -> list[User]:
    return await server.users.list().all()


@sends(access_changes)
async def _access_changes(server: AsyncServer, limit: int = 50) -> list[AccessChange]:
    return await server.access_changes.list().first(limit)


@sends(add_user)
async def _add_user(
    server: AsyncServer,
    email: str,
    role: Role,
    *,
    issuer: str | None = None,
    subject: str | None = None,
) -> NamedUser:
    return await server.users.create(email, role, issuer=issuer, subject=subject)


@sends(set_user_role)
async def _set_user_role(server: AsyncServer, user: str, role: Role) -> NamedUser:
    return await server.users.set_role(await user_id(server, user), role)


@sends(remove_user)
async def _remove_user(server: AsyncServer, user: str) -> NamedUser:
    return await server.users.delete(await user_id(server, user))


@sends(org_roles)
async def _org_roles(server: AsyncServer) -> list[OrgRole]:
    return await server.roles.list().all()


@sends(add_org_role)
async def _add_org_role(server: AsyncServer, slug: str, name: str | None = None) -> NamedOrgRole:
    return await server.roles.create(slug, name=name)


@sends(remove_org_role)
async def _remove_org_role(server: AsyncServer, slug: str) -> NamedOrgRole:
    return await server.roles.delete(slug)


@sends(grant_org_role)
async def _grant_org_role(server: AsyncServer, slug: str, user: str) -> bool:
    return (await server.roles.grant(slug, user)).changed


@sends(revoke_org_role)
async def _revoke_org_role(server: AsyncServer, slug: str, user: str) -> bool:
    return (await server.roles.revoke(slug, await user_id(server, user))).changed


@sends(api_keys)
async def _api_keys(server: AsyncServer) -> list[KeyRow]:
    return await server.keys.list().all()


@sends(create_key)
async def _create_key(
    server: AsyncServer,
    user: str,
    name: str,
    scopes: Sequence[KeyScope],
    *,
    seconds: float | None = None,
) -> CreatedKey:
    return await server.keys.create(user, name, scopes, seconds=seconds)


@sends(revoke_key)
async def _revoke_key(server: AsyncServer, prefix: str) -> str:
    return (await server.keys.revoke(prefix)).name


@sends(webhooks)
async def _webhooks(server: AsyncServer) -> list[WebhookRow]:
    return await server.webhooks.list().all()


@sends(add_webhook)
async def _add_webhook(
    server: AsyncServer,
    name: str,
    url: str,
    kinds: Sequence[EventKind] = AWAITED_KINDS,
    receiver: Receiver = Receiver.WEBHOOK,
) -> AddedWebhook:
    return await server.webhooks.create(name, url, kinds=kinds, receiver=receiver)


@sends(remove_webhook)
async def _remove_webhook(server: AsyncServer, name: str) -> None:
    await server.webhooks.delete(name)
