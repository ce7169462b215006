"""The definition of a job: the settings that can change the content or the location of its output.

The partitions of a dataset take part with their grid only: kind, grain, zone, size, and column.
Bounds and key lists select partitions of the grid, and a key map selects the inputs of a partition,
so that a change of these leaves most partitions as they are. A deploy finds the other ones by
comparing both versions (see `flow.deployment.resized`).
"""

from collections.abc import Iterable, Mapping
from hashlib import sha256
from typing import Any

import msgspec

from engine.lineage.catalog import space_of
from engine.lineage.compiled import CompiledDataset, CompiledJob
from engine.model.dataset import grid_of
from engine.model.states import UpdateStrategy


def definition_hash(job: CompiledJob, datasets: Iterable[CompiledDataset]) -> str:
    """Hash the definition of a job and its outputs."""
    code = job.version or job.code
    outputs = tuple(datasets)
    dimensions = space_of(outputs[0].partitioning).names
    keeps_maps = job.update_strategy == UpdateStrategy.APPEND
    return hash_of(
        [
            *([code] if code else ()),
            [job.operator, job.config, job.execution_strategy, job.update_strategy],
            job.unique_key,
            [
                (
                    read.dataset,
                    read.alias,
                    _mapped_grid(read.mapping, dimensions, keeps_maps=keeps_maps),
                    read.cursor,
                )
                for read in job.inputs
            ],
            [
                (
                    dataset.name,
                    grid_of(dataset.partitioning),
                    dataset.schema_hash,
                    storage_definition(dataset),
                )
                for dataset in outputs
            ],
        ]
    )


def has_same_definition(
    old: CompiledJob,
    old_datasets: Iterable[CompiledDataset],
    new: CompiledJob,
    new_datasets: Iterable[CompiledDataset],
) -> bool:
    """Compare the definitions of two versions of a job.

    The hash is computed for both, because the stored hash of an earlier release includes bounds and
    key lists.
    """
    return old.config_hash == new.config_hash or (
        definition_hash(old, old_datasets) == definition_hash(new, new_datasets)
    )


def _mapped_grid(mapping: Any, dimensions: Iterable[str], *, keeps_maps: bool) -> Any:
    """Return a mapping without key maps, in one form for the inferred and the written identity.

    Which of them is inferred depends on the bounds of both sides. ``dimensions`` are those of the
    output. ``keeps_maps``: rows of an input that is not read any more would stay in the output.
    """
    if mapping == "identity":
        return {name: name for name in dimensions}
    if keeps_maps or not isinstance(mapping, Mapping):
        return mapping
    return {
        name: {**entry, "map": True} if isinstance(entry, Mapping) and "map" in entry else entry
        for name, entry in mapping.items()
    }


def storage_definition(dataset: CompiledDataset) -> dict[str, Any]:
    """Return the storage without ``adopt``, a permission rather than part of the definition."""
    return {key: value for key, value in dataset.storage.items() if key != "adopt"}


def hash_of(content: Any) -> str:
    """Hash JSON data regardless of the order of keys."""
    return sha256(msgspec.json.encode(content, order="deterministic")).hexdigest()
