"""Identifiers that sort by the time they were made, so that age is index order."""

from uuid import UUID

import uuid_utils
from uuid_utils.compat import uuid7


def new_id() -> UUID:
    """Make an RFC 9562 version 7 UUID, rising within a process."""
    return uuid7()


def new_id_bytes() -> bytes:
    """Make the bytes of one, which takes a fraction of the time."""
    return uuid_utils.uuid7().bytes
