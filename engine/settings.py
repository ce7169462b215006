"""What an operator may set, each from the environment as ``KNOCKON_<NAME>``."""

from pathlib import Path
from typing import Literal

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict


class Settings(BaseSettings):
    """Settings of one process; constructor arguments win over the environment."""

    model_config = SettingsConfigDict(env_prefix="KNOCKON_", frozen=True, extra="ignore")

    database_url: str | None = Field(
        default=None, description="PostgreSQL address; unset: a server embedded under `home`."
    )
    source_url: str | None = Field(
        default=None, description="PostgreSQL address of the source tables; unset: `database_url`."
    )
    kafka_bootstrap_servers: str | None = Field(
        default=None, description="host:port list of Kafka brokers; unset: an embedded broker."
    )
    org: str = Field(default="default", description="Name of the org that commands act for.")
    home: Path = Field(default=Path(".knockon"), description="Directory of the embedded data.")
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        default="info", description="Least severe level that is logged."
    )
    log_format: Literal["console", "json"] = Field(
        default="console", description="Log lines for people or for machines."
    )
    lease_seconds: float = Field(
        default=30, gt=0, description="Seconds a worker holds a task without a heartbeat."
    )
    poll_seconds: float = Field(
        default=1.0, gt=0, description="Longest seconds a loop waits for a doorbell."
    )
    reap_seconds: float = Field(
        default=5, gt=0, description="Seconds between two searches for expired leases."
    )
    batch_size: int = Field(
        default=500, ge=1, description="Most events or invalidations in one transaction."
    )
    concurrency: int = Field(default=2, ge=1, description="Tasks that one worker runs at once.")
    monitor_address: str | None = Field(
        default=None, description="host:port to serve metrics and health on; unset: nowhere."
    )
    source_heartbeat_seconds: float = Field(
        default=5,
        gt=0,
        description="Seconds between two looks whether the source database is there, and for each.",
    )
    database_pool: int = Field(
        default=10, ge=1, description="Most database connections that one process holds."
    )
