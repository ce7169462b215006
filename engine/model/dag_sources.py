"""Sources of a DAG file: the feeds that report changes of a source dataset."""

from typing import Annotated, Any, Literal

from pydantic import (
    Field,
    model_validator,
)

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
            raise rejection(
                "this is the name of a field, or a mapping with either field or constant"
            )
        if "constant" in spec and len(spec) > 1:
            raise rejection("a constant has no unit or clock: delete them")
        return spec


class Discovery(Spec):
    """Datasets of the source's namespace that become sources when an event first names them."""

    dag: Name = Field(description="The DAG that they go to, which is for them alone.")
    name: Text = Field(
        description="What they are called there, with a group for each part that differs: "
        "shop.{table}."
    )
    dataset: Text = Field(
        description="What they are called here, with the same groups: shop_{table}."
    )


class KafkaSource(Spec):
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
    partition: dict[Column, Annotated[PartitionField, ShortForm(STRING)]] | None = Field(
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


class PostgresSource(Spec):
    """Changes are captured from a Postgres table."""

    kind: Literal["postgres"]
    table: Text = Field(description="The table, with its schema: raw.flights.")


class ManualSource(Spec):
    """Changes are said by hand, over the command line or the API."""

    kind: Literal["manual"]


class ScheduleSource(Spec):
    """The source counts as changed at the times of a cron expression."""

    kind: Literal["schedule"]
    cron: Text = Field(description="Five fields: minute, hour, day, month, weekday.")
    zone: Text = Field("UTC", description="The IANA time zone in which the cron text is meant.")


Source = Annotated[
    KafkaSource | PostgresSource | ManualSource | ScheduleSource, Field(discriminator="kind")
]
