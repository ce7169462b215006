"""The content of a DAG file: jobs, datasets and column lineage."""

from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from hashlib import sha256
from typing import Annotated, Any, Literal, Self

import msgspec
from pydantic import (
    BeforeValidator,
    Discriminator,
    Field,
    PrivateAttr,
    Tag,
    model_validator,
)

from engine.model.dag_dimensions import Dimensions
from engine.model.dag_fields import (
    EVERY_COLUMN,
    IDENTIFIER,
    NAME_LIST,
    STRING,
    Alias,
    Column,
    ColumnReference,
    Duration,
    KeyText,
    Name,
    ShortForm,
    Spec,
    check_wait_for,
    expand_columns,
    form_tag,
    rejection,
    to_tuple,
    without_default,
)
from engine.model.dag_sources import Source
from engine.model.source_positions import SourceMap, shown
from engine.model.states import Activation, ExecutionStrategy, UpdateStrategy

_text_or = partial(
    Discriminator,
    form_tag,
    custom_error_type="dag",
)
PartitioningSpec = Annotated[
    Annotated[Dimensions, Tag("<mapping>")] | Annotated[Name, Tag("<text>")],
    _text_or(custom_error_message="this is the name of a partitioning, or a mapping of dimensions"),
]
MappingSpec = Annotated[
    Annotated[dict[str, Any], Tag("<mapping>")] | Annotated[str, Tag("<text>")],
    _text_or(
        custom_error_message="this is the name of a mapping, or a mapping by output dimension"
    ),
]


OWN_OUTPUT = "self"
"""Name by which a job reads its own output."""


class Cursor(Spec):
    """The growing column of an input followed by a PerUpdate job."""

    column: Column = Field(description="A column with values that only grow.")
    type: Literal["integer", "timestamp", "text"] = Field(
        description="Type for comparing the values."
    )


class AllBut(Spec):
    """All input partitions except for some, whichever they are."""

    all_but: int = Field(ge=1, description="Number of input partitions that may be missing.")


class Input(Spec):
    """A dataset read by a job, from this DAG or another DAG."""

    dataset: Name = Field(description="Name of the dataset; `self` for the job's own output.")
    alias: Alias = Field(
        "",
        alias="as",
        description="Alias in the job; by default the dataset's name after the last dot.",
        json_schema_extra=without_default,
    )
    mapping: MappingSpec | None = Field(
        None,
        description="Input partitions of each output partition; inferred if unambiguous.",
    )
    window: tuple[int, int] | None = Field(
        None,
        description="Earlier partitions of the job's own output, from the first to the last "
        "offset, which is below 0.",
    )
    wait_for: Annotated[Literal["any", "all"] | int | AllBut, BeforeValidator(check_wait_for)] = (
        Field(
            "any",
            description="Input partitions that must exist before an output partition's first run.",
        )
    )
    on_failure: Literal["wait", "ignore"] = Field(
        "wait",
        description="Effect of a failed task of this input: wait until it has been retried or "
        "canceled, or ignore the failure and run without its result.",
    )
    cursor: Cursor | None = Field(None, description="Follow this input row by row (PerUpdate).")
    passes: (
        dict[Column, Annotated[tuple[Column, ...], BeforeValidator(to_tuple), ShortForm(STRING)]]
        | None
    ) = Field(
        None,
        description="Columns of the job with the same values as a column of this dataset, in rows "
        "derived only from rows with that value; row filters on the column pass through the job.",
    )

    @model_validator(mode="before")
    @classmethod
    def _expand(cls, value: Any) -> Any:
        """Expand the short form and the default alias, so that equivalent inputs are equal."""
        spec = {"dataset": value} if isinstance(value, str) else value
        if not isinstance(spec, dict):
            raise rejection("an input is the name of a dataset, or a mapping with the key dataset")
        if not isinstance(spec.get("dataset"), str) or "as" in spec:
            return spec
        alias = spec["dataset"].rpartition(".")[2]
        if not IDENTIFIER.fullmatch(alias):
            raise rejection(f"{shown(alias)} is not an SQL identifier: add an alias with `as:`")
        return spec | {"as": alias}


class After(Spec):
    """A time after the end of a partition's window."""

    after: Duration = Field(description="The time from the end of the window.")


class Debounce(Spec):
    """Gathers the invalidations of a dataset, so that all of them are planned together."""

    quiet: Duration = Field(description="Time without another invalidation, after the last one.")
    at_most: Duration = Field(description="Maximum time after the first invalidation.")

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.quiet > self.at_most:
            raise rejection("quiet is longer than at_most: write a shorter time, or raise at_most")
        return self


class Output(Spec):
    """A dataset produced by a job."""

    dataset: Name = Field(description="Name of the dataset, unique in the org.")
    storage: dict[str, Any] = Field({}, description="Location; the operator sql uses `table`.")
    partitioning: PartitioningSpec = Field(
        {}, description="Dimensions, or the name of an entry in partitionings; {} for none."
    )
    appears: Annotated[
        Annotated[After, Tag("<mapping>")]
        | Annotated[Literal["start", "end", "always"], Tag("<text>")],
        _text_or(custom_error_message="write start, end, always, or a mapping like {after: 6h}"),
    ] = Field(
        "start",
        description="Time at which time partitions come into being: at the start of the window, or "
        "earlier with an input in the window; at its end, or some time after; or at any time.",
    )
    columns: (
        Annotated[
            dict[Column, tuple[ColumnReference, ...] | None],
            BeforeValidator(expand_columns),
            ShortForm(NAME_LIST),
        ]
        | None
    ) = Field(
        None,
        description="Names of the columns; or a mapping from columns to source `alias.column`s, "
        "with '*' for input columns affecting every column.",
    )
    column_lineage: Literal["openlineage"] | None = Field(
        None, description="Take the lineage of the listed columns from OpenLineage events of runs."
    )
    read_roles: tuple[Name, ...] = Field(
        (), description="Roles with access; empty for everybody in the org."
    )

    debounce: Debounce | None = Field(
        None,
        description="Times for which invalidations of the dataset are gathered before they are "
        "planned.",
    )

    @property
    def column_names(self) -> tuple[str, ...] | None:
        """The names of the columns; None if not declared."""
        if self.columns is None:
            return None
        return tuple(name for name in self.columns if name != EVERY_COLUMN)

    @property
    def lineage(self) -> dict[str, tuple[str, ...]] | None:
        """Source ``alias.column``s by output column or ``*``; None if not declared."""
        columns = self.columns or {}
        declared = {name: refs for name, refs in columns.items() if refs is not None}
        return declared or None


class Scaling(Spec):
    """Concurrency, size and priority of tasks."""

    max_concurrency: int | None = Field(
        None,
        ge=1,
        le=100_000,
        strict=True,
        description="Maximum number of concurrent tasks of the job.",
    )
    partitions_per_task: int = Field(
        1,
        ge=1,
        le=100_000,
        strict=True,
        description="Maximum number of adjacent partitions in a task.",
    )
    priority: int = Field(
        0,
        ge=-1_000_000,
        le=1_000_000,
        strict=True,
        description="Tasks with a higher priority are claimed first.",
    )
    blast_radius: int | None = Field(
        None,
        ge=1,
        strict=True,
        description="Maximum number of the job's partitions recomputed without approval.",
    )


class JobSpec(Spec):
    """A job: inputs, outputs and execution."""

    name: Name = Field(description="Unique in the DAG.")
    description: str = Field("", description="Free text.")
    activation: Activation = Field(
        Activation.REACTIVE,
        description="Trigger of the job: an external system, changes of inputs, or a person.",
    )
    source: Source | None = Field(None, description="Feed of the changes of a source job.")
    operator: Name = Field(
        "sql", description="Implementation of the job: sql, python, shell or a plug-in."
    )
    runtime: Name = Field(
        "local", description="Runtime of the job; `external` for tasks claimed by other programs."
    )
    execution_strategy: ExecutionStrategy = Field(
        ExecutionStrategy.PER_PARTITION,
        description="A task builds partitions, follows new rows, or builds everything.",
    )
    update_strategy: UpdateStrategy = Field(
        UpdateStrategy.REPLACE, description="Rewrite partitions, or merge rows by unique_key."
    )
    unique_key: tuple[Column, ...] = Field((), description="Columns that identify a row.")
    inputs: tuple[Annotated[Input, ShortForm(STRING)], ...] = Field(
        (), description="Datasets read."
    )
    outputs: tuple[Output, ...] = Field(min_length=1, description="Datasets produced.")
    config: dict[str, Any] = Field({}, description="Settings of the operator.")
    version: KeyText | None = Field(
        None, description="Version of the job's code, instead of hashes of the code."
    )
    code: dict[str, str] | None = Field(
        None, description="Hashes of the job's code, filled in by deploy; omit."
    )
    scaling: Scaling = Field(Scaling(), description="Concurrency, task size and priority.")
    timeout: Duration | None = Field(None, description="Longest run of an attempt.")
    heartbeat_timeout: Duration | None = Field(
        None,
        description="Longest interval between heartbeats before the attempt is ended.",
    )
    max_attempts: int = Field(
        3, ge=1, le=1000, strict=True, description="Attempts before the task fails."
    )
    idle_timeout: Duration | None = Field(
        None, description="Longest time a runtime may keep the job's resources without a task."
    )

    @model_validator(mode="before")
    @classmethod
    def _own_output(cls, data: Any) -> Any:
        """Give an input named `self` the name of the job's own output, with the alias `self`."""
        if not isinstance(data, dict):
            return data
        inputs, outputs = data.get("inputs"), data.get("outputs")
        first = outputs[0] if isinstance(outputs, list | tuple) and outputs else None
        name = first.get("dataset") if isinstance(first, dict) else getattr(first, "dataset", None)
        if not isinstance(inputs, list | tuple) or not isinstance(name, str):
            return data
        return data | {"inputs": [_named(read, name) for read in inputs]}

    @model_validator(mode="before")
    @classmethod
    def _without_operator(cls, data: Any) -> Any:
        """Give jobs run by other programs the operator `external`, unless the job has SQL."""
        if not isinstance(data, dict) or data.get("runtime") != "external" or "operator" in data:
            return data
        config = data.get("config")
        has_sql = isinstance(config, dict) and "sql" in config
        return data if has_sql else {**data, "operator": "external"}


def _named(read: Any, output: str) -> Any:
    spec = {"dataset": read} if isinstance(read, str) else read
    if not isinstance(spec, dict) or spec.get("dataset") != OWN_OUTPUT:
        return read
    return {"as": OWN_OUTPUT, **spec, "dataset": output}


class DagFile(Spec):
    """A DAG: jobs and, through the jobs, datasets."""

    dag: Name = Field(description="Name of the DAG, unique in the org.")
    description: str = Field("", description="Free text.")
    partitionings: dict[Name, Dimensions] = Field(
        {}, description="Partitionings by name, shared by outputs."
    )
    jobs: tuple[JobSpec, ...] = Field(
        max_length=10_000,
        description="Jobs of the DAG; none once all of them have moved to other DAGs.",
    )

    _source_map: SourceMap = PrivateAttr(default_factory=SourceMap)

    @property
    def source_map(self) -> SourceMap:
        """The positions of values in the file; empty for a DAG not read from a file."""
        return self._source_map

    def dimensions(self, output: Output) -> Dimensions:
        """The output's own partitioning, or the named shared partitioning.

        Raises KeyError for an unknown name.
        """
        spec = output.partitioning
        return self.partitionings[spec] if isinstance(spec, str) else spec

    def with_code(self, hashes: Mapping[str, dict[str, str]]) -> "DagFile":
        """A copy of the DAG with hashes of code by name of the job."""
        if not hashes:
            return self
        jobs = [
            job.model_copy(update={"code": hashes[job.name]}) if job.name in hashes else job
            for job in self.jobs
        ]
        dag = self.model_copy(update={"jobs": tuple(jobs)})
        content = dict(self._source_map.content)
        if content:
            content["jobs"] = [
                {**raw, "code": hashes[job.name]} if job.name in hashes else raw
                for raw, job in zip(content["jobs"], jobs, strict=True)
            ]
        dag._source_map = replace(self._source_map, content=content)
        return dag

    @property
    def written(self) -> str:
        """The content of the file as JSON text; empty for a DAG not read from a file."""
        content = self._source_map.content
        return msgspec.json.encode(content).decode() if content else ""

    def canonical(self) -> bytes:
        """The content as JSON, equal for files that differ in format, job order or defaults."""
        content = self.model_dump(by_alias=True, exclude_defaults=True)
        shared = content.pop("partitionings", {})
        for output in (output for job in content["jobs"] for output in job["outputs"]):
            spec = output.get("partitioning")
            dimensions = shared.get(spec, spec) if isinstance(spec, str) else spec
            if isinstance(dimensions, dict):
                # A list, because the order of dimensions is the order within keys.
                output["partitioning"] = list(dimensions.items())
        content["jobs"] = sorted(content["jobs"], key=lambda job: str(job["name"]))
        return msgspec.json.encode(content, order="deterministic")

    def content_hash(self) -> str:
        """The SHA-256 of the canonical content, in hex."""
        return sha256(self.canonical()).hexdigest()


def json_schema() -> dict[str, Any]:
    """The JSON Schema (2020-12) of a DAG file, for completion and validation in editors."""
    dialect = {"$schema": "https://json-schema.org/draft/2020-12/schema"}
    return dialect | DagFile.model_json_schema(by_alias=True, mode="validation")
