"""What an operator may set, each from the environment as ``KNOCKON_<NAME>``."""

from pathlib import Path
from typing import Literal

from pydantic import Field, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict


class Settings(BaseSettings):
    """Settings of one process; constructor arguments win over the environment."""

    model_config = SettingsConfigDict(
        env_prefix="KNOCKON_", frozen=True, extra="ignore", hide_input_in_errors=True
    )

    database_url: str | None = Field(
        default=None,
        repr=False,
        description="PostgreSQL address; unset: a server embedded under `home`.",
    )
    source_url: str | None = Field(
        default=None,
        repr=False,
        description="PostgreSQL address of the source tables; unset: `database_url`.",
    )
    kafka_bootstrap_servers: str | None = Field(
        default=None, description="host:port list of Kafka brokers; unset: an embedded broker."
    )
    kafka_start: Literal["earliest", "latest"] = Field(
        default="earliest", description="Where to begin in a topic without a stored position."
    )
    kafka_security_protocol: Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"] = Field(
        default="PLAINTEXT", description="How the Kafka brokers are spoken to."
    )
    kafka_sasl_mechanism: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] = Field(
        default="PLAIN", description="How the user shows the password."
    )
    kafka_sasl_username: str | None = Field(default=None, description="User at the Kafka brokers.")
    kafka_sasl_password: SecretStr | None = Field(default=None, description="Their password.")
    kafka_ssl_ca: Path | None = Field(
        default=None, description="PEM file of the brokers' authorities; unset: the system's."
    )
    kafka_ssl_cert: Path | None = Field(
        default=None, description="PEM file of the client's certificate chain."
    )
    kafka_ssl_key: Path | None = Field(
        default=None, description="PEM file of its private key; unset: in the same file."
    )
    kafka_ssl_key_password: SecretStr | None = Field(
        default=None, description="What the private key is encrypted with."
    )
    dead_letter_topic: str | None = Field(
        default=None, description="Kafka topic that gets a copy of every message that is rejected."
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
    audit_seconds: float = Field(
        default=900, gt=0, description="Seconds between two audits of all partitions."
    )
    batch_size: int = Field(
        default=500, ge=1, description="Most invalidations planned in one transaction."
    )
    concurrency: int = Field(default=2, ge=1, description="Tasks that one worker runs at once.")
    monitor_address: str | None = Field(
        default=None, description="host:port to serve metrics and health on; unset: nowhere."
    )
    openlineage_url: str | None = Field(
        default=None,
        repr=False,
        description="Where OpenLineage's events of tasks go: http://… or file:///…; unset: none.",
    )
    openlineage_api_key: SecretStr | None = Field(
        default=None, description="Bearer token for `openlineage_url`."
    )
    openlineage_namespace: str | None = Field(
        default=None,
        description="Namespace of the org's jobs and datasets; unset: knockon://<org>.",
    )
    source_heartbeat_seconds: float = Field(
        default=5,
        gt=0,
        description="Seconds between two looks whether the source database is there, and for each.",
    )
    database_pool: int = Field(
        default=10, ge=1, description="Most database connections that one process holds."
    )

    @property
    def lineage_namespace(self) -> str:
        """The namespace of the org's jobs and datasets for OpenLineage."""
        return self.openlineage_namespace or f"knockon://{self.org}"
