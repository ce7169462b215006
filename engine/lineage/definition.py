"""The definition of a job: the settings that can change the content or the location of its output.

A SELECT takes part with its canonical text, whatever its form.

The partitions of a dataset take part with their grid only: kind, grain, zone, size, and column.
Bounds and key lists select partitions of the grid, and a key map selects the inputs of a partition,
so that a change of these leaves most partitions as they are. A deploy finds the other ones by
comparing both versions (see `flow.deployment.other_inputs`).
"""

from collections.abc import Iterable, Iterator, Mapping
from hashlib import sha256
from typing import Any

import msgspec
from msgspec.structs import replace

from engine.lineage.catalog import space_of
from engine.lineage.compiled import CompiledDataset, CompiledJob
from engine.lineage.sql.canonical import canonical
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
            [job.operator, _canonical(job), job.execution_strategy, job.update_strategy],
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

    The hash is computed for both, because the stored hash of an earlier release includes bounds,
    key lists and the form of the SQL.
    """
    if old.config_hash == new.config_hash:
        return True
    before = tuple(old_datasets)
    now = _with_columns_of(before, new_datasets)
    return definition_hash(old, before) == definition_hash(new, now)


def _canonical(job: CompiledJob) -> dict[str, Any]:
    """Return the config of a job, with the canonical text of each SELECT."""
    if job.operator != "sql" or "sql" not in job.config:
        return job.config
    given = job.config["sql"]
    if isinstance(given, dict):
        return job.config | {"sql": {name: canonical(text) for name, text in given.items()}}
    return job.config | {"sql": canonical(given)}


def _with_columns_of(
    old: Iterable[CompiledDataset], new: Iterable[CompiledDataset]
) -> Iterator[CompiledDataset]:
    """Yield the new datasets, those with the columns of before with the schema hash of before.

    A list in the file that equals the columns derived from the SQL changes nothing.
    """
    before = {dataset.name: dataset for dataset in old}
    for dataset in new:
        was = before.get(dataset.name)
        columns = own_columns(dataset)
        is_alike = was is not None and columns is not None and columns == own_columns(was)
        yield replace(dataset, schema_hash=was.schema_hash) if was and is_alike else dataset


def own_columns(dataset: CompiledDataset) -> frozenset[str] | None:
    """Return the columns without those of the partition, which a list may leave out."""
    if dataset.columns is None:
        return None
    dimensions = space_of(dataset.partitioning).dimensions
    return frozenset(dataset.columns) - {each.column or name for name, each in dimensions}


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
