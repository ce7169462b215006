"""Responses over HTTP that no operation returns, for the server and its clients."""

from collections.abc import Sequence
from typing import Final, Generic, TypeVar
from uuid import UUID

import msgspec

from engine.model.admission import Admission
from engine.model.states import KeyScope, Role
from engine.service.commands.worker_tasks import ClaimedTask

T = TypeVar("T")
PROBLEM_TYPE: Final = "urn:knockon:problem:"


class FieldError(msgspec.Struct, frozen=True):
    """An error in a field of a request; the location begins with body, query, path or header."""

    location: list[str | int]
    message: str


class Problem(msgspec.Struct, frozen=True, omit_defaults=True):
    """An error. ``type`` ends with a code that stays the same between releases."""

    type: str
    title: str
    status: int
    detail: str = ""
    errors: list[FieldError] = []


class Page(msgspec.Struct, Generic[T], frozen=True):
    """Items of a list; ``next`` is the cursor of the next page, null on the last page."""

    items: Sequence[T]
    next: str | None = None


class Me(msgspec.Struct, frozen=True):
    """The user for whom the key acts, with the rights of the key."""

    org: str
    org_id: UUID
    user: str | None
    role: Role
    scopes: list[KeyScope]


class OrgAdmission(msgspec.Struct, frozen=True):
    """Who is admitted to the org through the identity provider; None: nobody."""

    admission: Admission | None


class Membership(msgspec.Struct, frozen=True):
    """The result of a change of members; not ``changed`` if it was the case before."""

    changed: bool


class RevokedKey(msgspec.Struct, frozen=True):
    """A revoked key."""

    prefix: str
    name: str


class RemovedWebhook(msgspec.Struct, frozen=True):
    """A removed webhook."""

    name: str


class Ids(msgspec.Struct, frozen=True):
    """Ids of invalidations."""

    invalidations: list[UUID]


class Canceled(msgspec.Struct, frozen=True):
    """The number of canceled tasks, with the ids of those named in the request."""

    canceled: int
    tasks: list[UUID] = []


class Discarded(msgspec.Struct, frozen=True):
    """The number of discarded dead letters, with the ids of those named in the request."""

    discarded: int
    letters: list[UUID] = []


class Claimed(msgspec.Struct, frozen=True):
    """Claimed tasks."""

    tasks: list[ClaimedTask]


class Reported(msgspec.Struct, frozen=True):
    """The task whose end is recorded."""

    task: UUID
