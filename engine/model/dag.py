"""What a DAG file says, as values: everything that jobs, datasets and column lineage hold."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from hashlib import sha256
from typing import Annotated, Any, Literal

import msgspec
from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Discriminator,
    Field,
    GetJsonSchemaHandler,
    PrivateAttr,
    StringConstraints,
    Tag,
    model_validator,
)
from pydantic.config import JsonDict
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, PydanticCustomError

from engine.model.job import Activation, ExecutionStrategy, UpdateStrategy
from engine.model.source_positions import SourceMap, shown

IDENTIFIER = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,62}")
"""A name that SQL takes without quotes, in the 63 bytes that Postgres keeps of one."""

EVERY_COLUMN = "*"
"""Stands for all output columns in column lineage."""

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
_LONGEST = 366 * 86400


@dataclass(frozen=True, slots=True, eq=False)
class _Or:
    """Adds a short form to a field's JSON Schema; a validator in front of it expands it."""

    short: JsonSchemaValue

    def __get_pydantic_json_schema__(
        self, core: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        return {"anyOf": [self.short, handler(core)]}


def _refuse(message: str) -> PydanticCustomError:
    return PydanticCustomError("dag", "{message}", {"message": message})


def _seconds(value: Any) -> Any:
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    found = re.fullmatch(r"([0-9]{1,9})([smhd])", value) if isinstance(value, str) else None
    if not found:
        raise _refuse(f"{shown(value)} is no duration: write seconds, or 90s, 10m, 2h, 1d")
    return int(found[1]) * _UNITS[found[2]]


def _wait_for(value: Any) -> Any:
    if value in ("any", "all") or (type(value) is int and value >= 1):
        return value
    raise _refuse(f"{shown(value)} is no wait_for: write any, all or a number of partitions from 1")


def _columns(value: Any) -> Any:
    """A list of names becomes a mapping without lineage."""
    if isinstance(value, list):
        repeated = {str(name) for name in value if value.count(name) > 1}
        if repeated or not all(isinstance(name, str) for name in value) or "*" in value:
            raise _refuse("columns are names, each once, and '*' only stands in a mapping")
        return dict.fromkeys(value)
    if not isinstance(value, dict) or None in value.values():
        raise _refuse(
            "columns are a list of names, or a mapping from each column to the list of input "
            "columns that it comes from, [] for none"
        )
    return value


def _form_tag(value: Any) -> str | None:
    if isinstance(value, str):
        return "<text>"
    return "<mapping>" if isinstance(value, dict) else None


def _dimension_tag(value: Any) -> str | None:
    keys = value if isinstance(value, dict) else getattr(type(value), "model_fields", ())
    kinds = (kind for kind in ("time", "range", "static", "dynamic") if kind in keys)
    return next((f"<{kind}>" for kind in kinds), None)


def _key_text(value: Any) -> Any:
    """YAML reads the keys 2013 and 42 as numbers."""
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


def _one_or_more(value: Any) -> Any:
    return (value,) if isinstance(value, str) else value


def _without_default(schema: JsonDict) -> None:
    del schema["default"]


_STRING: JsonSchemaValue = {"type": "string"}
_NAME_LIST: JsonSchemaValue = {"type": "array", "items": _STRING, "uniqueItems": True}
_DURATION: JsonSchemaValue = {"type": "string", "pattern": "^[0-9]{1,9}[smhd]$"}

GROUP = re.compile(r"\{([A-Za-z_][A-Za-z0-9_]*)\}")
"""A part of a text that differs, by its name."""

_NAME = r"^[A-Za-z_][A-Za-z0-9_.-]*$"
_ALIAS = f"^{IDENTIFIER.pattern}$"
_COLUMN = r"^[^\x00-\x1f]+$"
_TOPIC = r"^[A-Za-z0-9._-]{1,249}$"
_REFERENCE = r"^[A-Za-z_][A-Za-z0-9_]*\.[^\x00-\x1f]+$"
PATTERNS = {
    _NAME: "a name: a letter or _, then letters, digits, _, . or -",
    _ALIAS: "an SQL identifier: a letter or _, then letters, digits or _, 63 at most",
    _COLUMN: "a column name: text without control characters",
    _REFERENCE: "an input column: write alias.column",
    _TOPIC: "a topic's name: letters, digits, ., _ or -, 249 at most",
}
"""What each pattern asks for, in words."""

NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]{0,127}")
"""What may be the name of a dataset."""
Name = Annotated[str, StringConstraints(pattern=_NAME, max_length=128)]
Alias = Annotated[str, StringConstraints(pattern=_ALIAS)]
Column = Annotated[str, StringConstraints(pattern=_COLUMN, max_length=128)]
ColumnReference = Annotated[str, StringConstraints(pattern=_REFERENCE, max_length=192)]
Topic = Annotated[str, StringConstraints(pattern=_TOPIC)]
Text = Annotated[str, StringConstraints(min_length=1, max_length=1024)]
KeyText = Annotated[Text, BeforeValidator(_key_text), _Or({"type": "integer"})]
Duration = Annotated[
    int, BeforeValidator(_seconds), Field(gt=0, le=_LONGEST, strict=True), _Or(_DURATION)
]


class _Spec(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class TimeDimension(_Spec):
    """One partition for each hour, day, … of a time zone."""

    time: Literal["hour", "day", "week", "month", "quarter", "year"] = Field(
        description="The length of a partition."
    )
    zone: Text = Field("UTC", description="The IANA time zone in which it begins and ends.")
    start: KeyText | None = Field(None, description="The first key: 2013-01-01.")
    end: KeyText | None = Field(None, description="The key after the last one: 2014-01-01.")
    column: Column | None = Field(None, description="The column that holds the time.")


class RangeDimension(_Spec):
    """One partition for each run of integers of one size: 0-9999, 10000-19999 and so on."""

    range: Annotated[int, Field(ge=1, strict=True)] = Field(description="Integers in a partition.")
    start: Annotated[int, Field(strict=True)] | None = Field(None, description="The least value.")
    end: Annotated[int, Field(strict=True)] | None = Field(
        None, description="The value after the greatest."
    )
    column: Column | None = Field(None, description="The column that holds the integer.")


class StaticDimension(_Spec):
    """One partition for each key of a list."""

    static: tuple[KeyText, ...] = Field(min_length=1, description="The keys, in order.")
    column: Column | None = Field(None, description="The column that holds the key.")


class DynamicDimension(_Spec):
    """Partitions appear as their keys are seen."""

    dynamic: Literal[True] = Field(description="Always true.")
    column: Column | None = Field(None, description="The column that holds the key.")


Dimension = Annotated[
    Annotated[TimeDimension, Tag("<time>")]
    | Annotated[RangeDimension, Tag("<range>")]
    | Annotated[StaticDimension, Tag("<static>")]
    | Annotated[DynamicDimension, Tag("<dynamic>")],
    Discriminator(
        _dimension_tag,
        custom_error_type="dag",
        custom_error_message="a dimension is a mapping with one of time, range, static, dynamic",
    ),
]
Dimensions = dict[Column, Dimension]
_text_or = partial(
    Discriminator,
    _form_tag,
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


class PartitionField(_Spec):
    """Where a record says in which partition it lies."""

    field: Text | None = Field(None, description="The field that holds the dimension.")
    unit: Literal["days", "seconds", "millis", "micros", "nanos", "decimal"] | None = Field(
        None, description="What a number counts since 1970, or that a text is a decimal number."
    )
    clock: Literal["utc", "local"] | None = Field(
        None, description="Whether a time is an instant, or as the dimension's own clock shows it."
    )
    constant: KeyText | None = Field(None, description="The one key that all records have.")

    @model_validator(mode="before")
    @classmethod
    def _expand(cls, value: Any) -> Any:
        """Spells out the short form, so that equal fields are equal."""
        spec = {"field": value} if isinstance(value, str) else value
        if not isinstance(spec, dict) or ("field" in spec) == ("constant" in spec):
            raise _refuse("this is the name of a field, or a mapping with either field or constant")
        if "constant" in spec and len(spec) > 1:
            raise _refuse("a constant has no unit or clock: delete them")
        return spec


class Discovery(_Spec):
    """Datasets of the source's namespace that become sources when an event first names them."""

    dag: Name = Field(description="The DAG that they go to, which is for them alone.")
    name: Text = Field(
        description="What they are called there, with a group for each part that differs: "
        "shop.{table}."
    )
    dataset: Text = Field(
        description="What they are called here, with the same groups: shop_{table}."
    )


class KafkaSource(_Spec):
    """Changes come as messages on a Kafka topic."""

    kind: Literal["kafka"]
    topic: Text = Field(description="The topic to read.")
    format: Name = Field(
        "knockon",
        description="knockon, cloudevents, debezium, record, s3, openlineage or a plug-in's.",
    )
    dataset: Name | None = Field(
        None, description="The one dataset that all messages are about; else each names its own."
    )
    registry: Text | None = Field(
        None, description="The schema registry's URL, where messages bear the id of a schema."
    )
    partition: dict[Column, Annotated[PartitionField, _Or(_STRING)]] | None = Field(
        None,
        description="For each dimension, the field of a record that holds it, or a constant key; "
        "by default the field is called as the dimension's column.",
    )
    columns: dict[Column, Text] | None = Field(
        None, description="From column to field, for those that are not called the same."
    )
    key: tuple[Text, ...] | None = Field(
        None, min_length=1, description="Fields that no update of a record changes (debezium)."
    )
    before: Literal["full"] | None = Field(
        None,
        description="A promise that `before` holds all of the row, as with REPLICA IDENTITY FULL "
        "(debezium).",
    )
    placeholder: Text | None = Field(
        None,
        description="What stands for a large value that an update left alone, if it is not "
        "Debezium's default: its unavailable.value.placeholder (debezium).",
    )
    replace_null_with_default: bool | None = Field(
        None,
        description="Whether the converter writes a null as the default of its field; false where "
        "its replace.null.with.default is (debezium, record).",
    )
    table: Text | None = Field(
        None, description="The only table that counts, as schema.table (debezium)."
    )
    pattern: Text | None = Field(
        None, description="The object keys that count, with their dimensions: sales/dt={dt}/ (s3)."
    )
    namespace: Text | None = Field(
        None, description="The only OpenLineage namespace that counts: postgres://db:5432."
    )
    name: Text | None = Field(
        None,
        description="What the datasets are called there, {dataset} being their name here: "
        "shop.public.{dataset} (openlineage).",
    )
    unknown: Literal["reject", "ignore"] | None = Field(
        None, description="What becomes of other datasets of the namespace (openlineage)."
    )
    discover: Discovery | None = Field(
        None, description="Datasets to register when an event first names them (openlineage)."
    )
    dead_letters: Topic | None = Field(
        None, description="The topic that gets a copy of every message that is rejected."
    )


class PostgresSource(_Spec):
    """Changes are captured from a Postgres table."""

    kind: Literal["postgres"]
    table: Text = Field(description="The table, with its schema: raw.flights.")


class ManualSource(_Spec):
    """Changes are said by hand, over the command line or the API."""

    kind: Literal["manual"]


class ScheduleSource(_Spec):
    """The source counts as changed at the times of a cron expression."""

    kind: Literal["schedule"]
    cron: Text = Field(description="Five fields: minute, hour, day, month, weekday.")
    zone: Text = Field("UTC", description="The IANA time zone in which the cron text is meant.")


Source = Annotated[
    KafkaSource | PostgresSource | ManualSource | ScheduleSource, Field(discriminator="kind")
]


class Cursor(_Spec):
    """The ever-growing column that a PerUpdate job follows."""

    column: Column = Field(description="A column that only ever grows.")
    type: Literal["integer", "timestamp", "text"] = Field(description="How its values compare.")


class Input(_Spec):
    """A dataset that a job reads, of this DAG or another, and how it reads it."""

    dataset: Name = Field(description="The dataset's name.")
    alias: Alias = Field(
        "",
        alias="as",
        description="The name that the job reads it by; by default the dataset's last dotted part.",
        json_schema_extra=_without_default,
    )
    mapping: MappingSpec | None = Field(
        None,
        description="From this dataset's partitions to the job's; inferred where it is obvious.",
    )
    wait_for: Annotated[Literal["any", "all"] | int, BeforeValidator(_wait_for)] = Field(
        "any", description="How many of an output's input partitions the first run waits for."
    )
    cursor: Cursor | None = Field(None, description="Follow this input row by row (PerUpdate).")
    passes: (
        dict[Column, Annotated[tuple[Column, ...], BeforeValidator(_one_or_more), _Or(_STRING)]]
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
            raise _refuse("an input is a dataset's name, or a mapping with the key dataset")
        if not isinstance(spec.get("dataset"), str) or "as" in spec:
            return spec
        alias = spec["dataset"].rpartition(".")[2]
        if not IDENTIFIER.fullmatch(alias):
            raise _refuse(
                f"{shown(alias)} is no SQL identifier: add `as:` with a name to read it by"
            )
        return spec | {"as": alias}


class Output(_Spec):
    """A dataset that a job makes."""

    dataset: Name = Field(description="The dataset's name, unique in the org.")
    storage: dict[str, Any] = Field({}, description="Where it lives; `table` is what sql uses.")
    partitioning: PartitioningSpec = Field(
        {}, description="Its dimensions, or the name of an entry of partitionings; {} for none."
    )
    columns: (
        Annotated[
            dict[Column, tuple[ColumnReference, ...] | None],
            BeforeValidator(_columns),
            _Or(_NAME_LIST),
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


class Scaling(_Spec):
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


class JobSpec(_Spec):
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
    inputs: tuple[Annotated[Input, _Or(_STRING)], ...] = Field((), description="What it reads.")
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


class DagFile(_Spec):
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
