"""OpenLineage facets that Knockon emits, each with the address of its schema.

Source: OpenLineage 2-0-2. Tests compare the facet versions with the official Python client 1.54.
"""

import msgspec
from msgspec import UNSET, UnsetType

from engine.model.openlineage import PRODUCER

SPEC = "https://openlineage.io/spec/"


def _schema(name: str, version: str) -> str:
    return f"{SPEC}facets/{version}/{name}.json#/$defs/{name}"


class Facet(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """Base class of all facets."""

    producer: str = msgspec.field(default=PRODUCER, name="_producer")


class NominalTime(Facet, frozen=True, kw_only=True, rename="camel"):
    """Half-open time window of the computed partitions."""

    nominal_start_time: str
    nominal_end_time: str
    schema_url: str = msgspec.field(
        default=_schema("NominalTimeRunFacet", "1-0-1"), name="_schemaURL"
    )


class ErrorMessage(Facet, frozen=True, kw_only=True, rename="camel"):
    """Error of a failed attempt."""

    message: str
    programming_language: str = "PYTHON"
    schema_url: str = msgspec.field(
        default=_schema("ErrorMessageRunFacet", "1-0-1"), name="_schemaURL"
    )


class ProcessingEngine(Facet, frozen=True, kw_only=True, rename="camel"):
    """Name and version of the engine."""

    version: str
    name: str = "Knockon"
    schema_url: str = msgspec.field(
        default=_schema("ProcessingEngineRunFacet", "1-1-1"), name="_schemaURL"
    )


class Task(Facet, frozen=True, kw_only=True, rename="camel"):
    """Knockon's own facet: the attempted task; ``partitions`` are keys or ranges of keys.

    The schema is docs/reference/openlineage/TaskRunFacet.json; its URL is a name, not an address.
    """

    task: str
    attempt: int
    worker: str
    partitions: tuple[str, ...]
    schema_url: str = msgspec.field(
        default="urn:knockon:openlineage:1-0-0:TaskRunFacet", name="_schemaURL"
    )


class JobType(Facet, frozen=True, kw_only=True, rename="camel"):
    """Type of a job."""

    job_type: str
    processing_type: str = "BATCH"
    integration: str = "KNOCKON"
    schema_url: str = msgspec.field(default=_schema("JobTypeJobFacet", "2-0-4"), name="_schemaURL")


class Column(msgspec.Struct, frozen=True):
    """A column of a dataset."""

    name: str


class Schema(Facet, frozen=True, kw_only=True, rename="camel"):
    """The columns of a dataset."""

    fields: tuple[Column, ...]
    schema_url: str = msgspec.field(
        default=_schema("SchemaDatasetFacet", "1-2-0"), name="_schemaURL"
    )


class InputField(msgspec.Struct, frozen=True):
    """A column of an input."""

    namespace: str
    name: str
    field: str


class InputFields(msgspec.Struct, frozen=True, rename="camel"):
    """Input columns from which an output column is computed."""

    input_fields: list[InputField]


class ColumnLineage(Facet, frozen=True, kw_only=True, rename="camel"):
    """Input columns of each output column; those in ``dataset`` affect all output columns."""

    fields: dict[str, InputFields]
    dataset: list[InputField]
    schema_url: str = msgspec.field(
        default=_schema("ColumnLineageDatasetFacet", "1-2-0"), name="_schemaURL"
    )


class OutputStatistics(Facet, frozen=True, kw_only=True, rename="camel"):
    """Amount of data that a run wrote to a dataset; ``size`` in bytes."""

    row_count: int | UnsetType = UNSET
    size: int | UnsetType = UNSET
    schema_url: str = msgspec.field(
        default=_schema("OutputStatisticsOutputDatasetFacet", "1-0-2"), name="_schemaURL"
    )


class Partition(msgspec.Struct, frozen=True):
    """One partition: the key, and each dimension's part of the key."""

    identifier: str
    dimensions: dict[str, str]


class Partitions(msgspec.Struct, frozen=True, tag_field="type", tag="partition"):
    """Some partitions of a dataset."""

    partitions: list[Partition]


class Subset(Facet, frozen=True, kw_only=True, rename="camel"):
    """Partitions of a dataset that a run computes."""

    output_condition: Partitions
    schema_url: str = msgspec.field(
        default=f"{SPEC}facets/1-0-0/BaseSubsetDatasetFacet.json"
        "#/$defs/OutputSubsetOutputDatasetFacet",
        name="_schemaURL",
    )
