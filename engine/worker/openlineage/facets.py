"""The facets that Knockon fills in, each with the address of the schema that it keeps to.

Source: OpenLineage 2-0-2; the versions are those of its official Python client 1.54, which the
tests hold them against.
"""

import msgspec
from msgspec import UNSET, UnsetType

from engine.model.openlineage import PRODUCER

SPEC = "https://openlineage.io/spec/"


def _schema(name: str, version: str) -> str:
    return f"{SPEC}facets/{version}/{name}.json#/$defs/{name}"


class Facet(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """What all facets have."""

    producer: str = msgspec.field(default=PRODUCER, name="_producer")


class NominalTime(Facet, frozen=True, kw_only=True, rename="camel"):
    """The window of time that the made partitions stand for, half-open."""

    nominal_start_time: str
    nominal_end_time: str
    schema_url: str = msgspec.field(
        default=_schema("NominalTimeRunFacet", "1-0-1"), name="_schemaURL"
    )


class ErrorMessage(Facet, frozen=True, kw_only=True, rename="camel"):
    """Why an attempt failed."""

    message: str
    programming_language: str = "PYTHON"
    schema_url: str = msgspec.field(
        default=_schema("ErrorMessageRunFacet", "1-0-1"), name="_schemaURL"
    )


class ProcessingEngine(Facet, frozen=True, kw_only=True, rename="camel"):
    """Which Knockon it was."""

    version: str
    name: str = "Knockon"
    schema_url: str = msgspec.field(
        default=_schema("ProcessingEngineRunFacet", "1-1-1"), name="_schemaURL"
    )


class Task(Facet, frozen=True, kw_only=True, rename="camel"):
    """Knockon's own: which task the run is an attempt at; partitions are keys or ranges of them.

    Its schema is docs/reference/openlineage/TaskRunFacet.json: a name, since it is served nowhere.
    """

    task: str
    attempt: int
    worker: str
    partitions: tuple[str, ...]
    schema_url: str = msgspec.field(
        default="urn:knockon:openlineage:1-0-0:TaskRunFacet", name="_schemaURL"
    )


class JobType(Facet, frozen=True, kw_only=True, rename="camel"):
    """What kind of job it is; ``job_type`` is the operator."""

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
    """The input columns that an output column is made of."""

    input_fields: list[InputField]


class ColumnLineage(Facet, frozen=True, kw_only=True, rename="camel"):
    """What each column is made of; those under ``dataset`` shape all of them."""

    fields: dict[str, InputFields]
    dataset: list[InputField]
    schema_url: str = msgspec.field(
        default=_schema("ColumnLineageDatasetFacet", "1-2-0"), name="_schemaURL"
    )


class OutputStatistics(Facet, frozen=True, kw_only=True, rename="camel"):
    """How much a run wrote to a dataset; ``size`` in bytes."""

    row_count: int | UnsetType = UNSET
    size: int | UnsetType = UNSET
    schema_url: str = msgspec.field(
        default=_schema("OutputStatisticsOutputDatasetFacet", "1-0-2"), name="_schemaURL"
    )


class Partition(msgspec.Struct, frozen=True):
    """One partition: its key, and the part of it that each dimension holds."""

    identifier: str
    dimensions: dict[str, str]


class Partitions(msgspec.Struct, frozen=True, tag_field="type", tag="partition"):
    """Some partitions of a dataset."""

    partitions: list[Partition]


class Subset(Facet, frozen=True, kw_only=True, rename="camel"):
    """The part of a dataset that a run makes."""

    output_condition: Partitions
    schema_url: str = msgspec.field(
        default=f"{SPEC}facets/1-0-0/BaseSubsetDatasetFacet.json"
        "#/$defs/OutputSubsetOutputDatasetFacet",
        name="_schemaURL",
    )
