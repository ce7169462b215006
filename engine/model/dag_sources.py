"""Sources of a DAG file: the feeds that report changes of a source dataset."""

from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from engine.model.dag_fields import (
    STRING,
    Column,
    KeyText,
    Name,
    ShortForm,
    Spec,
    Text,
    Topic,
    rejection,
)


class PartitionField(Spec):
    """The part of a message with the key of a dimension."""

    field: Text | None = Field(None, description="The field with the value of the dimension.")
    unit: Literal["days", "seconds", "millis", "micros", "nanos", "decimal"] | None = Field(
        None, description="Unit of a number since 1970; decimal for a number as text."
    )
    clock: Literal["utc", "local"] | None = Field(
        None, description="Whether times are in UTC, or local times of the dimension's zone."
    )
    constant: KeyText | None = Field(None, description="The single key of all messages.")

    @model_validator(mode="before")
    @classmethod
    def _expand(cls, value: Any) -> Any:
        """Expand the short form, so that equivalent fields are equal."""
        spec = {"field": value} if isinstance(value, str) else value
        if not isinstance(spec, dict) or ("field" in spec) == ("constant" in spec):
            raise rejection(
                "this is the name of a field, or a mapping with either field or constant"
            )
        if "constant" in spec and len(spec) > 1:
            raise rejection("a constant has no unit or clock: delete them")
        return spec


class Discovery(Spec):
    """Registration of datasets of the namespace as sources, on the first event."""

    dag: Name = Field(description="The DAG for the registered sources only.")
    name: Text = Field(description="Pattern of OpenLineage names, with groups: shop.{table}.")
    dataset: Text = Field(description="Name of the dataset, with the same groups: shop_{table}.")


class MessageSource(Spec):
    """Changes arrive as messages in a format, whatever the transport."""

    format: Name = Field(
        "knockon",
        description="knockon, cloudevents, debezium, record, s3, openlineage or a plug-in.",
    )
    dataset: Name | None = Field(
        None, description="Dataset of all messages; by default every message names a dataset."
    )
    registry: Text | None = Field(
        None, description="URL of a schema registry, for messages with a schema id."
    )
    partition: dict[Column, Annotated[PartitionField, ShortForm(STRING)]] | None = Field(
        None,
        description="The field of each dimension, or a constant key; by default the field named "
        "like the dimension's column.",
    )
    columns: dict[Column, Text] | None = Field(
        None, description="Fields by column, for columns with a different name."
    )
    key: tuple[Text, ...] | None = Field(
        None,
        min_length=1,
        description="Fields of the primary key, not changed by updates (debezium).",
    )
    before: Literal["full"] | None = Field(
        None,
        description="Guarantee that `before` contains the complete row, as with REPLICA IDENTITY "
        "FULL (debezium).",
    )
    placeholder: Text | None = Field(
        None,
        description="Placeholder of a large value not changed by an update, if not Debezium's "
        "default: the connector's unavailable.value.placeholder (debezium).",
    )
    replace_null_with_default: bool | None = Field(
        None,
        description="Whether the converter replaces nulls with the default of the field: its "
        "replace.null.with.default (debezium, record).",
    )
    table: Text | None = Field(
        None, description="The only table to read, as schema.table (debezium)."
    )
    pattern: Text | None = Field(
        None,
        description="Object keys to read, with a group for each dimension: sales/dt={dt}/ (s3).",
    )
    namespace: Text | None = Field(
        None, description="The only OpenLineage namespace to read: postgres://db:5432."
    )
    name: Text | None = Field(
        None,
        description="OpenLineage name of the datasets, with {dataset} for the name in Knockon: "
        "shop.public.{dataset} (openlineage).",
    )
    unknown: Literal["reject", "ignore"] | None = Field(
        None, description="Treatment of other datasets in the namespace (openlineage)."
    )
    discover: Discovery | None = Field(
        None, description="Rule for registering other datasets on the first event (openlineage)."
    )


class KafkaSource(MessageSource):
    """Changes arrive as messages on a Kafka topic."""

    kind: Literal["kafka"]
    topic: Text = Field(description="Topic to read.")
    dead_letters: Topic | None = Field(
        None, description="Topic for a copy of every rejected message."
    )


class HttpSource(MessageSource):
    """Changes arrive as messages in HTTP requests."""

    kind: Literal["http"]
    endpoint: Name = Field(description="Last part of the address: /api/v1/sources/{endpoint}.")
    signing_secret: Text | None = Field(
        None,
        description="Secret of the sender's signatures (Standard Webhooks), as ${NAME}; unsigned "
        "requests are then refused.",
    )


class PostgresSource(Spec):
    """Changes are captured from a Postgres table."""

    kind: Literal["postgres"]
    table: Text = Field(description="Table with its schema: raw.flights.")


class ManualSource(Spec):
    """Changes are reported from the command line or the API."""

    kind: Literal["manual"]


class ScheduleSource(Spec):
    """The source counts as changed at the times of a cron expression."""

    kind: Literal["schedule"]
    cron: Text = Field(description="Five fields: minute, hour, day, month, weekday.")
    zone: Text = Field("UTC", description="The IANA time zone of the cron expression.")
    covers: Literal["all"] | tuple[int, int] | None = Field(
        None,
        description="The partitions that change: all, or the first and last window, counted from "
        "the one that contains the time. By default [-1, -1], the window that has just ended, for "
        "a dataset with one time dimension, else all.",
    )


Source = Annotated[
    KafkaSource | HttpSource | PostgresSource | ManualSource | ScheduleSource,
    Field(discriminator="kind"),
]
