"""Rows of `worker_leases.sql`."""

from typing import Any

import msgspec


class LeaseTerms(msgspec.Struct, frozen=True):
    """A lease as given to its worker."""

    terms: dict[str, Any]
