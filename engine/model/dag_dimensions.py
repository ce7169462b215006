"""Dimensions of a partitioning in a DAG file."""

from typing import Annotated, Literal

from pydantic import Discriminator, Field, Tag

from engine.model.dag_fields import Column, KeyText, Spec, Step, Text, TimeOfDay, dimension_tag


class _TimeWindows(Spec):
    """Fields of all partitionings by time."""

    zone: Text = Field("UTC", description="The IANA time zone of the limits of partitions.")
    start: KeyText | None = Field(None, description="The first key: 2013-01-01.")
    end: KeyText | None = Field(None, description="The key after the last key: 2014-01-01.")
    column: Column | None = Field(None, description="The column with the time.")


class TimeDimension(_TimeWindows):
    """One partition for each hour, day, … in a time zone."""

    time: Literal["hour", "day", "week", "month", "quarter", "year"] = Field(
        description="The length of a partition."
    )
    starts_on: (
        Literal["monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"] | None
    ) = Field(None, description="The first day of a week; by default monday.")
    starts_at: TimeOfDay | None = Field(
        None, description='The time of day at which partitions start: "06:00"; by default midnight.'
    )


class StepDimension(_TimeWindows):
    """One partition for each number of minutes or hours in a time zone."""

    every: Step = Field(description="The length of a partition, which divides a day: 15m, 4h.")
    starts_at: TimeOfDay | None = Field(
        None, description='A time of day at which a partition starts: "06:00"; by default midnight.'
    )


class CronDimension(_TimeWindows):
    """One partition for each time of a cron expression, until the next time."""

    cron: Text = Field(description="The expression, in five fields: 0 0 1,15 * *.")


class RangeDimension(Spec):
    """One partition for each range of integers of a fixed size, like 0-9999."""

    range: Annotated[int, Field(ge=1, strict=True)] = Field(
        description="Number of integers in a partition."
    )
    start: Annotated[int, Field(strict=True)] | None = Field(
        None, description="The smallest value."
    )
    end: Annotated[int, Field(strict=True)] | None = Field(
        None, description="The value after the largest value."
    )
    column: Column | None = Field(None, description="The column with the integer.")


class StaticDimension(Spec):
    """One partition for each listed key."""

    static: tuple[KeyText, ...] = Field(min_length=1, description="The keys, in order.")
    column: Column | None = Field(None, description="The column with the key.")


class DynamicDimension(Spec):
    """One partition for each key in the data."""

    dynamic: Literal[True] = Field(description="Always true.")
    column: Column | None = Field(None, description="The column with the key.")


Dimension = Annotated[
    Annotated[TimeDimension, Tag("<time>")]
    | Annotated[StepDimension, Tag("<every>")]
    | Annotated[CronDimension, Tag("<cron>")]
    | Annotated[RangeDimension, Tag("<range>")]
    | Annotated[StaticDimension, Tag("<static>")]
    | Annotated[DynamicDimension, Tag("<dynamic>")],
    Discriminator(
        dimension_tag,
        custom_error_type="dag",
        custom_error_message="a dimension is a mapping with one of time, every, cron, range, "
        "static, dynamic",
    ),
]
Dimensions = dict[Column, Dimension]
