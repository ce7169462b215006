"""Fingerprints of sources in their events: a description of the same data justifies no run."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence, Set
from dataclasses import replace
from random import Random
from typing import Any
from zlib import crc32

from engine.model.event import SourceEvent
from tests.simulation.dimensions import Key
from tests.simulation.state import SimulationState
from tests.simulation.world import Job, World

_SHARE = 0.8


def with_fingerprints(rng: Random, world: World) -> World:
    """Return the world in which the events of most sources have fingerprints."""
    return World(
        tuple(
            replace(job, is_fingerprinted=job.is_source and rng.random() < _SHARE)
            for job in world.jobs
        )
    )


def fingerprint(state: SimulationState, job: Job, keys: Set[Key]) -> str:
    """Return a fingerprint of a partition; of the whole source for several partitions."""
    data = state.sources[job.outputs[0].name]
    content: Any = sorted((key, sorted(rows.items())) for key, rows in data.items() if rows)
    if len(keys) == 1:
        (key,) = keys
        content = key, sorted(data.get(key, {}).items())
    return f"{crc32(repr((job.salt, content)).encode()):x}"


def given(job: Job, event: SourceEvent) -> str | None:
    """Return the fingerprint of an event; None if the event is about a part of the partitions."""
    is_partial = event.columns is not None or event.rows is not None
    is_wide = event.partitions is None and bool(job.space)
    return None if is_partial or is_wide else event.fingerprint


def is_contradictory(job: Job, batch: Sequence[tuple[SourceEvent, Set[Key]]]) -> bool:
    """Return True if events ingested together may differ in the fingerprints of a partition.

    Merged events lose their order, so that no fingerprint of the source is known after them.
    """
    texts = {given(job, event) for event, _ in batch}
    keys = [key for _, named in batch for key in named]
    return len(texts) > 1 and (len(keys) > len({*keys}) or any(not named for _, named in batch))


class Described:
    """Last known fingerprints of the partitions of sources, by planned events.

    Known only where the order of the events is certain: not those of merged or reviewed events.
    """

    def __init__(self) -> None:
        self._valid_for: dict[str, object] = {}
        self._known: defaultdict[str, dict[Key, str | None]] = defaultdict(dict)

    def unchanged(
        self, job: Job, version: object, events: Sequence[tuple[SourceEvent, Iterable[Key]]]
    ) -> set[Key]:
        """Record events planned together; return the partitions that they describe as they are."""
        (output,) = job.outputs
        if self._valid_for.get(output.name) != (version, job.space):
            self._known[output.name].clear()
        self._valid_for[output.name] = version, job.space
        known, described = self._known[output.name], defaultdict[Key, set[str | None]](set)
        for event, keys in events:
            for key in keys:
                described[key].add(given(job, event))
        same = {
            key
            for key, texts in described.items()
            if len(texts) == 1 and None not in texts and texts == {known.get(key)}
        }
        for key, texts in described.items():
            known[key] = next(iter(texts)) if len(texts) == 1 else None
        return same

    def forget(self, dataset: str) -> None:
        """Forget the fingerprints of a dataset."""
        self._known[dataset].clear()
