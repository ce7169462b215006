"""Rows of `dags.sql`."""

from typing import Any
from uuid import UUID

import msgspec


class CurrentDag(msgspec.Struct, frozen=True):
    """A DAG in its current version."""

    dag_name: str
    dag_version_id: UUID
    yaml_hash: str
    """Hash of the compiled content."""
    content: Any


class UserDefinedNames(msgspec.Struct, frozen=True):
    """Names of functions and operators beyond those of PostgreSQL."""

    functions: list[str]
    unsafe: list[str]
    operators: list[str]


class DagVersionId(msgspec.Struct, frozen=True):
    """A stored version of a DAG."""

    id: UUID


class NamedId(msgspec.Struct, frozen=True):
    """A job or dataset by name."""

    id: UUID
    name: str


class DatasetPin(msgspec.Struct, frozen=True):
    """The version of a dataset in a version of a DAG."""

    dataset_uuid: UUID
    dataset_version: UUID


class NewestVersion(msgspec.Struct, frozen=True):
    """The newest version of a dataset."""

    name: str
    id: UUID
    partitioning: dict[str, Any]
    storage: dict[str, Any]


class VersionPartitioning(msgspec.Struct, frozen=True):
    """The partitioning of a dataset version."""

    id: UUID
    partitioning: dict[str, Any]
