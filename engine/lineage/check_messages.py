"""Checks of sources of messages: the options of the format, and the binding to a dataset."""

import re
from collections.abc import Iterator, Mapping
from types import MappingProxyType

from engine.errors import InvalidPartition
from engine.lineage.catalog import Readable
from engine.model.dag import JobSpec
from engine.model.dag_fields import GROUP, NAME
from engine.model.dag_sources import Discovery, KafkaSource, MessageSource, PartitionField
from engine.model.source_positions import Path, Problem, did_you_mean
from engine.partitions import Dimension, RangeDimension, TimeDimension

BINDING_KEYS: Mapping[str, frozenset[str]] = MappingProxyType(
    {
        "debezium": frozenset(
            {
                *("partition", "columns", "key", "table", "registry"),
                *("before", "placeholder", "replace_null_with_default"),
            }
        ),
        "record": frozenset({"partition", "registry", "replace_null_with_default"}),
        "s3": frozenset({"partition", "pattern"}),
        "openlineage": frozenset({"partition", "namespace", "name", "unknown", "discover"}),
    }
)
"""Formats that need a binding, with the keys of `source` that each accepts."""

MULTI_DATASET = frozenset({"openlineage"})
"""Bound formats with messages that name their dataset; other bound formats need a single one."""

_OPTIONS = frozenset().union(*BINDING_KEYS.values())
_UNITS = ("days", "seconds", "millis", "micros", "nanos")


def check_messages(
    job: JobSpec, source: MessageSource, path: Path, readable: Mapping[str, Readable]
) -> Iterator[Problem]:
    """Report all problems of a source of messages."""
    outputs = [output.dataset for output in job.outputs]
    if source.dataset and source.dataset not in outputs:
        hint = did_you_mean(source.dataset, outputs)
        message = f"the job has no output {source.dataset!r}: name an output of the job{hint}"
        yield Problem((*path, "dataset"), message)
    yield from _check_options(source, path)
    if source.discover is not None:
        yield from _check_discovery(source, source.discover, (*path, "discover"))
    if isinstance(source, KafkaSource) and source.dead_letters == source.topic:
        yield Problem(
            (*path, "dead_letters"), "this is the topic of the source: name another topic"
        )
    if source.format not in BINDING_KEYS:
        return
    datasets = [source.dataset] if source.dataset else outputs
    if len(datasets) > 1 and source.format not in MULTI_DATASET:
        message = f"messages of format {source.format} are about a single dataset: add `dataset:`"
        yield Problem(path, message)
    elif dataset := readable.get(datasets[0]):  # all outputs of a job have the same partitioning
        yield from _check_binding(source, path, dataset)
    if len(datasets) > 1 and source.name is not None and "{dataset}" not in source.name:
        message = "the source has several datasets: write {dataset} in place of the name"
        yield Problem((*path, "name"), message)


def _check_options(source: MessageSource, path: Path) -> Iterator[Problem]:
    supported = BINDING_KEYS.get(source.format, frozenset())
    for option in sorted(_OPTIONS - supported):
        if getattr(source, option) is not None:
            formats = " or ".join(name for name in BINDING_KEYS if option in BINDING_KEYS[name])
            yield Problem(
                (*path, option),
                f"format {source.format} does not support this key: delete it, or use {formats}",
            )
    if source.format == "s3" and source.pattern is None:
        yield Problem(path, "format s3 needs a `pattern:` of object keys: sales/dt={dt}/")
    if source.registry is not None and not re.match(r"https?://[^/]", source.registry):
        yield Problem(
            (*path, "registry"), "this must be a URL: write one like http://registry:8081"
        )


def _check_binding(source: MessageSource, path: Path, dataset: Readable) -> Iterator[Problem]:
    dimensions = dict(dataset.space.dimensions)
    for name, partition_field in (source.partition or {}).items():
        at = (*path, "partition", name)
        if name not in dimensions:
            hint = did_you_mean(name, dimensions) or f"; it has {', '.join(dimensions) or 'none'}"
            yield Problem(at, f"the dataset has no dimension {name!r}{hint}")
        else:
            yield from _check_partition_field(dimensions[name], partition_field, at)
    for column in source.columns or {}:
        if dataset.columns is not None and column not in dataset.columns:
            hint = did_you_mean(column, dataset.columns)
            yield Problem((*path, "columns", column), f"the dataset has no such column{hint}")
    if source.pattern is not None:
        yield from _check_pattern(source, source.pattern, dataset, (*path, "pattern"))


def _check_discovery(source: MessageSource, rule: Discovery, path: Path) -> Iterator[Problem]:
    if source.namespace is None:
        yield Problem(path, "discovery needs a namespace: add `namespace` to the source")
    groups, used = GROUP.findall(rule.name), GROUP.findall(rule.dataset)
    if not groups or sorted(groups) != sorted(set(used)) or _has_loose_braces(rule.name):
        yield Problem(
            (*path, "name"),
            "write each variable part once, as a name in braces, with the same names in "
            "`dataset`: shop.{table}",
        )
    if not all(re.match(r"[^A-Za-z0-9_]", text) for text in GROUP.split(rule.name)[2:-1:2]):
        yield Problem(
            (*path, "name"),
            "groups match letters, digits and _: separate two groups by another character",
        )
    if not NAME.fullmatch(GROUP.sub("x", rule.dataset)):
        yield Problem(
            (*path, "dataset"), "this is not the name of a dataset: write one like shop_{table}"
        )


def _has_loose_braces(text: str) -> bool:
    return re.search(r"[{}]", GROUP.sub("", text)) is not None


def _check_partition_field(
    dimension: Dimension, partition_field: PartitionField, path: Path
) -> Iterator[Problem]:
    if partition_field.constant is not None:
        try:
            dimension.value(partition_field.constant, "constant")
        except InvalidPartition as error:
            yield Problem((*path, "constant"), str(error))
    fitting = (
        _UNITS
        if isinstance(dimension, TimeDimension)
        else ("decimal",)
        if isinstance(dimension, RangeDimension)
        else ()
    )
    if partition_field.unit is not None and partition_field.unit not in fitting:
        what = f"write {', '.join(fitting)}" if fitting else "delete it: the keys are texts"
        yield Problem(
            (*path, "unit"), f"{partition_field.unit!r} does not fit the dimension: {what}"
        )
    if partition_field.clock is not None and not isinstance(dimension, TimeDimension):
        yield Problem((*path, "clock"), "only time dimensions have a clock: delete this key")


def _check_pattern(
    source: MessageSource, pattern: str, dataset: Readable, path: Path
) -> Iterator[Problem]:
    groups = GROUP.findall(pattern)
    if _has_loose_braces(pattern) or len(set(groups)) < len(groups):
        yield Problem(path, "groups are distinct names in braces: sales/dt={dt}/")
    fields = source.partition or {}
    for name, dimension in dataset.space.dimensions:
        field = fields.get(name, PartitionField(field=dimension.column or name)).field
        if field is not None and field not in groups:
            yield Problem(
                path,
                f"there is no group {{{field}}} for the dimension {name!r}: add the group, or "
                "name another group or a constant under `partition`",
            )
