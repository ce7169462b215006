"""Tokens of single tasks: `kt_<org>_<task>_<lease token>`, for the worker that has the lease.

The org is part of the text, so that the service can confine the request to the org before anything
is looked up. Only the lease token is a secret, with 122 random bits.
"""

import re
from dataclasses import dataclass
from typing import Final, Self
from uuid import UUID

PREFIX: Final = "kt_"
_FORM = re.compile(r"kt_([0-9a-f]{32})_([0-9a-f]{32})_([0-9a-f]{32})")


@dataclass(frozen=True, slots=True)
class TaskToken:
    """The right to report on one task, until its lease is lost."""

    org_id: UUID
    task_id: UUID
    lease_token: UUID

    @classmethod
    def parse(cls, text: str) -> Self | None:
        """Read a token; None if the text is none."""
        match = _FORM.fullmatch(text)
        return None if match is None else cls(*(UUID(hex=part) for part in match.groups()))

    def __str__(self) -> str:
        return f"{PREFIX}{self.org_id.hex}_{self.task_id.hex}_{self.lease_token.hex}"

    def __repr__(self) -> str:
        return f"TaskToken({self.task_id})"
