"""Rows of `lineage.sql`."""

from uuid import UUID

import msgspec


class DatasetRow(msgspec.Struct, frozen=True):
    """A dataset in its current version, with JSON as text."""

    id: UUID
    version: UUID
    name: str
    partitioning: str
    columns: list[str] | None
    storage: str
    storage_location: str | None


class JobRow(msgspec.Struct, frozen=True):
    """A job in its current version, with JSON as text."""

    id: UUID
    name: str
    dag_name: str
    activation: str
    execution_strategy: str
    inputs: str
    output_datasets: list[str]
    runtime: str
    operator: str
    update_strategy: str
    unique_key: list[str]
    config: str
    config_hash: str
    scaling: str
    timeout_seconds: int | None
    heartbeat_timeout_seconds: int | None
    max_attempts: int
    column_lineage: str | None
    code: str | None
    appears: str


class AcceptingDataset(msgspec.Struct, frozen=True):
    """A dataset that accepts the report of the run with an ``index``."""

    index: int
    dataset: UUID
    version: UUID
