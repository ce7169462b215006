"""The DAG file as values: jobs, datasets and column lineage."""

from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from hashlib import sha256
from typing import Annotated, Any, Literal

import msgspec
from pydantic import (
    BeforeValidator,
    Discriminator,
    Field,
    PrivateAttr,
    Tag,
    model_validator,
)

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
    Text,
    check_wait_for,
    dimension_tag,
    expand_columns,
    form_tag,
    rejection,
    to_tuple,
    without_default,
)
from engine.model.dag_sources import (
    Source,
)
from engine.model.job import Activation, ExecutionStrategy, UpdateStrategy
from engine.model.source_positions import SourceMap, shown


class TimeDimension(Spec):
    """One partition for each hour, day, … of a time zone."""

    time: Literal["hour", "day", "week", "month", "quarter", "year"] = Field(
        description="The length of a partition."
    )
    zone: Text = Field("UTC", description="The IANA time zone in which it begins and ends.")
    start: KeyText | None = Field(None, description="The first key: 2013-01-01.")
    end: KeyText | None = Field(None, description="The key after the last one: 2014-01-01.")
    column: Column | None = Field(None, description="The column that holds the time.")


class RangeDimension(Spec):
    """One partition for each run of integers of one size: 0-9999, 10000-19999 and so on."""

    range: Annotated[int, Field(ge=1, strict=True)] = Field(description="Integers in a partition.")
    start: Annotated[int, Field(strict=True)] | None = Field(None, description="The least value.")
    end: Annotated[int, Field(strict=True)] | None = Field(
        None, description="The value after the greatest."
    )
    column: Column | None = Field(None, description="The column that holds the integer.")


class StaticDimension(Spec):
    """One partition for each key of a list."""

    static: tuple[KeyText, ...] = Field(min_length=1, description="The keys, in order.")
    column: Column | None = Field(None, description="The column that holds the key.")


class DynamicDimension(Spec):
    """Partitions appear as their keys are seen."""

    dynamic: Literal[True] = Field(description="Always true.")
    column: Column | None = Field(None, description="The column that holds the key.")


Dimension = Annotated[
    Annotated[TimeDimension, Tag("<time>")]
    | Annotated[RangeDimension, Tag("<range>")]
    | Annotated[StaticDimension, Tag("<static>")]
    | Annotated[DynamicDimension, Tag("<dynamic>")],
    Discriminator(
        dimension_tag,
        custom_error_type="dag",
        custom_error_message="a dimension is a mapping with one of time, range, static, dynamic",
    ),
]
Dimensions = dict[Column, Dimension]
_text_or = partial(
    Discriminator,
    form_tag,
    custom_error_type="dag",
)
PartitioningSpec = Annotated[
    Annotated[Dimensions, Tag("<mapping>")] | Annotated[Name, Tag("<text>")],
    _text_or(custom_error_message="this is the name of a partitioning, or its dimensions"),
]
MappingSpec = Annotated[
    Annotated[dict[str, Any], Tag("<mapping>")] | Annotated[str, Tag("<text>")],
    _text_or(custom_error_message="this is the name of a mapping, or one by output dimension"),
]


class Cursor(Spec):
    """The ever-growing column that a PerUpdate job follows."""

    column: Column = Field(description="A column that only ever grows.")
    type: Literal["integer", "timestamp", "text"] = Field(description="How its values compare.")


class Input(Spec):
    """A dataset that a job reads, of this DAG or another, and how it reads it."""

    dataset: Name = Field(description="The dataset's name.")
    alias: Alias = Field(
        "",
        alias="as",
        description="The name that the job reads it by; by default the dataset's last dotted part.",
        json_schema_extra=without_default,
    )
    mapping: MappingSpec | None = Field(
        None,
        description="From this dataset's partitions to the job's; inferred where it is obvious.",
    )
    wait_for: Annotated[Literal["any", "all"] | int, BeforeValidator(check_wait_for)] = Field(
        "any", description="How many of an output's input partitions the first run waits for."
    )
    cursor: Cursor | None = Field(None, description="Follow this input row by row (PerUpdate).")
    passes: (
        dict[Column, Annotated[tuple[Column, ...], BeforeValidator(to_tuple), ShortForm(STRING)]]
        | None
    ) = Field(
        None,
        description="For a column of this dataset, the job's column that carries it unchanged and "
        "keeps its rows apart by it; a row filter on it holds beyond the job.",
    )

    @model_validator(mode="before")
    @classmethod
    def _expand(cls, value: Any) -> Any:
        """Spells out the short form and the default alias, so that equal inputs are equal."""
        spec = {"dataset": value} if isinstance(value, str) else value
        if not isinstance(spec, dict):
            raise rejection("an input is a dataset's name, or a mapping with the key dataset")
        if not isinstance(spec.get("dataset"), str) or "as" in spec:
            return spec
        alias = spec["dataset"].rpartition(".")[2]
        if not IDENTIFIER.fullmatch(alias):
            raise rejection(
                f"{shown(alias)} is no SQL identifier: add `as:` with a name to read it by"
            )
        return spec | {"as": alias}


class Output(Spec):
    """A dataset that a job makes."""

    dataset: Name = Field(description="The dataset's name, unique in the org.")
    storage: dict[str, Any] = Field({}, description="Where it lives; `table` is what sql uses.")
    partitioning: PartitioningSpec = Field(
        {}, description="Its dimensions, or the name of an entry of partitionings; {} for none."
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
        description="The column names; or from each column to the `alias.column`s it comes from, "
        "where '*' names those that shape every column.",
    )
    column_lineage: Literal["openlineage"] | None = Field(
        None, description="Take it from what the job's runs tell OpenLineage of the listed columns."
    )
    read_roles: tuple[Name, ...] = Field((), description="Who may see it; nobody named: all.")

    @property
    def column_names(self) -> tuple[str, ...] | None:
        """The columns that it has, or None where the file does not say."""
        if self.columns is None:
            return None
        return tuple(name for name in self.columns if name != EVERY_COLUMN)

    @property
    def lineage(self) -> dict[str, tuple[str, ...]] | None:
        """From output column (or ``*``) to ``alias.column``s, or None where nothing is said."""
        known = {name: refs for name, refs in (self.columns or {}).items() if refs is not None}
        return known or None


class Scaling(Spec):
    """How many tasks at once, how large, and how urgent."""

    max_concurrency: int | None = Field(
        None, ge=1, le=100_000, strict=True, description="Most tasks of this job at one time."
    )
    partitions_per_task: int = Field(
        1, ge=1, le=100_000, strict=True, description="Most neighbouring partitions in one task."
    )
    priority: int = Field(
        0, ge=-1_000_000, le=1_000_000, strict=True, description="Higher is claimed first."
    )
    blast_radius: int | None = Field(
        None,
        ge=1,
        strict=True,
        description="Most partitions of this job that one change may have made without approval.",
    )


class JobSpec(Spec):
    """One job: what it reads, what it makes, and how it is run."""

    name: Name = Field(description="Unique in the DAG.")
    description: str = Field("", description="For people.")
    activation: Activation = Field(
        "reactive", description="What starts it: an upstream system, its inputs, or a person."
    )
    source: Source | None = Field(None, description="How a source's changes come to be known.")
    operator: Name = Field("sql", description="What runs it: sql, python, shell or a plug-in.")
    runtime: Name = Field(
        "local", description="Where it runs; `external` leaves tasks to whoever claims them."
    )
    execution_strategy: ExecutionStrategy = Field(
        "PerPartition", description="A task makes a partition, follows new rows, or makes it all."
    )
    update_strategy: UpdateStrategy = Field(
        "replace", description="Write partitions anew, or merge rows in by unique_key."
    )
    unique_key: tuple[Column, ...] = Field((), description="The columns that tell rows apart.")
    inputs: tuple[Annotated[Input, ShortForm(STRING)], ...] = Field(
        (), description="What it reads."
    )
    outputs: tuple[Output, ...] = Field(min_length=1, description="What it makes.")
    config: dict[str, Any] = Field({}, description="The operator's own settings.")
    version: KeyText | None = Field(
        None, description="The version of the code that it runs, in place of hashes of that code."
    )
    code: dict[str, str] | None = Field(
        None, description="Hashes of the code that it runs, filled in by deploy; leave it out."
    )
    scaling: Scaling = Field(Scaling(), description="Concurrency, task size and priority.")
    timeout: Duration | None = Field(None, description="Longest run of one attempt.")
    heartbeat_timeout: Duration | None = Field(
        None, description="Longest silence of a worker before its task is given to another."
    )
    max_attempts: int = Field(
        3, ge=1, le=1000, strict=True, description="Attempts before the task counts as failed."
    )
    idle_timeout: Duration | None = Field(
        None, description="How long a runtime may keep the job's resources without a task."
    )


class DagFile(Spec):
    """One DAG: its jobs, and through them its datasets."""

    dag: Name = Field(description="The DAG's name, unique in the org.")
    description: str = Field("", description="For people.")
    partitionings: dict[Name, Dimensions] = Field(
        {}, description="Partitionings by name, for outputs to share."
    )
    jobs: tuple[JobSpec, ...] = Field(min_length=1, max_length=10_000, description="Its jobs.")

    _source_map: SourceMap = PrivateAttr(default_factory=SourceMap)

    @property
    def source_map(self) -> SourceMap:
        """The positions of its values in the file; empty if the DAG was not read from a file."""
        return self._source_map

    def dimensions(self, output: Output) -> Dimensions:
        """The output's own partitioning, or the shared one that it names.

        Raises KeyError where it names none.
        """
        spec = output.partitioning
        return self.partitionings[spec] if isinstance(spec, str) else spec

    def with_code(self, hashes: Mapping[str, dict[str, str]]) -> "DagFile":
        """The same DAG with hashes of the code of some jobs, by the job's name."""
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
        """The content of its file as JSON text; empty where the DAG was not read from one."""
        content = self._source_map.content
        return msgspec.json.encode(content).decode() if content else ""

    def canonical(self) -> bytes:
        """The content as JSON: equal for files that differ in form, order of jobs or defaults."""
        content = self.model_dump(by_alias=True, exclude_defaults=True)
        shared = content.pop("partitionings", {})
        for output in (output for job in content["jobs"] for output in job["outputs"]):
            spec = output.get("partitioning")
            found = shared.get(spec, spec) if isinstance(spec, str) else spec
            if isinstance(found, dict):
                # Dimensions have an order, which the keys are written in.
                output["partitioning"] = list(found.items())
        content["jobs"] = sorted(content["jobs"], key=lambda job: str(job["name"]))
        return msgspec.json.encode(content, order="deterministic")

    def content_hash(self) -> str:
        """The sha256 of the canonical content, in hex."""
        return sha256(self.canonical()).hexdigest()


def json_schema() -> dict[str, Any]:
    """The JSON Schema (2020-12) of a DAG file, for editors to check and complete by."""
    dialect = {"$schema": "https://json-schema.org/draft/2020-12/schema"}
    return dialect | DagFile.model_json_schema(by_alias=True, mode="validation")
