"""A durable record of a stale scope of a dataset version."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final
from uuid import UUID

from engine.model.states import Reason


class OwnReason(StrEnum):
    """Reason of an invalidation made by the engine, which no event can give.

    An invalidation of a change found by a run, and not planned, carries the content version written
    by the run. An invalidation of partitions that came into being as time passed stands for changes
    of their inputs that were planned before. A job that reads its own earlier partitions is
    continued with later ones: those left out by a plan, or those that read a changed partition.
    Requested ones that a plan has left out run in any case.
    """

    FOUND = "found"
    APPEARED = "appeared"
    CONTINUED = "continued"
    REQUESTED = "requested"


InvalidationReason = Reason | OwnReason

ABOUT_READERS: Final = frozenset({Reason.REWRITTEN, OwnReason.FOUND})
"""Reasons for which only the readers of a produced dataset are recomputed, not the dataset."""

LEFT_OUT: Final = frozenset({OwnReason.CONTINUED, OwnReason.REQUESTED})
"""Reasons of partitions that an earlier plan has left out, or that a changed partition reaches."""

ONLY_IF_STALE: Final = frozenset({OwnReason.FOUND, OwnReason.APPEARED, OwnReason.CONTINUED})
"""Reasons for which partitions are recomputed only if they are stale by the time of the run."""


@dataclass(frozen=True, slots=True)
class Invalidation:
    """A row of ``data_invalidations``, as read by the planner.

    ``partition_key`` is a key or range text of the dataset's partition space; null means all.
    ``columns`` null means unknown. ``row_filter`` without conditions: all of them were dropped, so
    any rows may have changed, or been added before a cursor. ``processed_by`` are the jobs with
    tasks already planned. ``is_rerun``: all of the dataset is to be recomputed by a single-run job
    that has run, which may have found no partitions. ``fingerprint`` is that of the data in each of
    the partitions of a source; None: unknown.
    """

    id: UUID
    dataset: UUID
    version: UUID
    reason: InvalidationReason
    partition_key: str | None = None
    columns: frozenset[str] | None = None
    row_filter: Mapping[str, Any] | None = None
    processed_by: frozenset[UUID] = frozenset()
    is_rerun: bool = False
    fingerprint: str | None = None
