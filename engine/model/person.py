"""People as identity providers describe them."""

import re
from collections.abc import Sequence
from typing import Final
from uuid import UUID

import msgspec

LOCAL_ISSUER: Final = "local"
"""Issuer of users without an identity provider, whose subject is the e-mail address."""
_LONGEST_ID: Final = 1_000
_ADDRESS: Final = re.compile(r"[^\s@]{1,64}@[^\s@]{1,255}")


class Person(msgspec.Struct, frozen=True):
    """The person of a verified token, issued at a time in seconds since 1970."""

    issuer: str
    subject: str
    email: str | None
    groups: Sequence[str]
    issued_at: int

    @property
    def key(self) -> str:
        """Return the identity of the person, the same in all orgs."""
        return person_key(self.issuer, self.subject)


def is_address(text: str) -> bool:
    """Return whether a text may be the e-mail address of a user."""
    return _ADDRESS.fullmatch(text) is not None and text.isprintable()


def person_key(issuer: str, subject: str) -> str:
    """Return the identity of a person: subjects are unique only within an issuer.

    Raises ValueError for one that is too long, or not printable.
    """
    key = f"{issuer}#{subject}"
    if len(key) > _LONGEST_ID or not key.isprintable():
        raise ValueError(f"the issuer and subject must have at most {_LONGEST_ID:,} characters")
    return key


def external_id(org_id: UUID, key: str) -> str:
    """Return the id of a person as a user of an org: one person may be a user of several orgs."""
    return f"{org_id}:{key}"
