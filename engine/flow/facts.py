"""Invalidations that Knockon makes by itself: the way that something is made has changed."""

from collections.abc import Collection
from typing import Any
from uuid import UUID

from engine.store.ids import new_id


def definition_change(
    dataset: UUID,
    version: UUID,
    partition: str | None = None,
    *,
    columns: Collection[str] | None = None,
    said_by: str = "deploy",
) -> dict[str, Any]:
    """The fact: all of a dataset, or a part of it, is to be made anew.

    Of a source: it is another one from here on, in all columns or in some.
    """
    return {
        "dataset_uuid": dataset,
        "dataset_version": version,
        "reason": "definition_change",
        "columns": None if columns is None else [*columns],
        "source_event": {"count": 1, "stream": said_by},
        "events": 1,
        "ids": [new_id()],
        "partition_keys": [partition],
    }
