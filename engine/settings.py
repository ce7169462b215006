"""Settings of a process, each read from the environment variable ``KNOCKON_<NAME>``."""

from pathlib import Path
from typing import Any, Literal, get_args

from pydantic import Field, SecretStr, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from engine.errors import InvalidInput

_PREFIX = "KNOCKON_"
_YEAR = 365 * 86400
_ALGORITHM = "(RS|PS|ES)(256|384|512)"


class Settings(BaseSettings):
    """Settings of one process; constructor arguments take precedence over the environment."""

    model_config = SettingsConfigDict(
        env_prefix=_PREFIX, frozen=True, extra="ignore", hide_input_in_errors=True
    )

    database_url: str | None = Field(
        default=None,
        repr=False,
        description=(
            "PostgreSQL 15 or newer for Knockon's own tables, as a libpq address; unset: "
            "a server embedded under `home`."
        ),
    )
    direct_url: str | None = Field(
        default=None,
        repr=False,
        description=(
            "The same database without a pooler, if `database_url` is a pooler in transaction mode."
        ),
    )
    source_url: str | None = Field(
        default=None,
        repr=False,
        description=(
            "Database of the source tables, PostgreSQL 14 or newer, without a pooler; unset: "
            "`direct_url` or else `database_url`."
        ),
    )
    kafka_bootstrap_servers: str | None = Field(
        default=None,
        description="Kafka brokers, `host:port,…`; unset: `knockon up` embeds a broker.",
    )
    kafka_start: Literal["earliest", "latest"] = Field(
        default="earliest", description="Start position in a topic without a stored position."
    )
    kafka_security_protocol: Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"] = Field(
        default="PLAINTEXT", description="Security protocol of the Kafka brokers."
    )
    kafka_sasl_mechanism: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] = Field(
        default="PLAIN", description="SASL mechanism for the user and password."
    )
    kafka_sasl_username: str | None = Field(default=None, description="User at the Kafka brokers.")
    kafka_sasl_password: SecretStr | None = Field(
        default=None, description="Password of `kafka_sasl_username`."
    )
    kafka_ssl_ca: Path | None = Field(
        default=None,
        description=(
            "PEM file of the authorities trusted to sign the brokers' certificates; "
            "unset: the system's."
        ),
    )
    kafka_ssl_cert: Path | None = Field(
        default=None, description="PEM file of the client's certificate chain."
    )
    kafka_ssl_key: Path | None = Field(
        default=None,
        description=(
            "PEM file of the client's private key; unset: in the same file as `kafka_ssl_cert`."
        ),
    )
    kafka_ssl_key_password: SecretStr | None = Field(
        default=None, description="Password of an encrypted private key."
    )
    dead_letter_topic: str | None = Field(
        default=None,
        description=(
            "Kafka topic for a copy of every rejected message, unless the source names another."
        ),
    )
    org: str = Field(default="default", description="Org of the process.")
    server: str | None = Field(
        default=None,
        description=(
            "Address of an HTTP service, on which commands work instead of the database: see "
            "`knockon login`. `--server` takes precedence."
        ),
    )
    key: SecretStr | None = Field(
        default=None,
        description="Key for `server`, `kn_…`; unset: the one stored by `knockon login`.",
    )
    allow_http: bool = Field(
        default=False,
        description=(
            "Whether a key is sent without encryption, to a `server` with an http address that is "
            "not on this machine."
        ),
    )
    home: Path = Field(
        default=Path(".knockon"),
        description=(
            "Directory of the embedded database, relative to the directory of the command: another "
            "directory has another database, or none. The embedded broker, with its address and "
            "log there, keeps messages in memory only, until `knockon up` ends."
        ),
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        default="info",
        description=(
            "Least severe level logged. Commands that end by themselves log errors only, "
            "unless set."
        ),
    )
    log_format: Literal["console", "json"] = Field(
        default="console", description="`console` for people, `json` for machines."
    )
    lease_seconds: int = Field(
        default=30,
        ge=1,
        description="Duration of a lease; a worker renews its leases by heartbeat.",
    )
    poll_seconds: float = Field(
        default=1.0,
        gt=0,
        description=(
            "Longest sleep of a loop without a notification. Polling is also the only "
            "wake-up for table changes where `max_prepared_transactions` is above 0, "
            "because a transaction that has run NOTIFY cannot be prepared."
        ),
    )
    reap_seconds: float = Field(
        default=5, gt=0, description="Interval between two searches for expired leases."
    )
    audit_seconds: float = Field(
        default=900, gt=0, description="Interval between two audits of all partitions."
    )
    archive_seconds: float = Field(
        default=3600,
        ge=0,
        le=_YEAR,
        description="Time after which finished work moves to the history.",
    )
    history_days: float = Field(
        default=365,
        gt=0,
        description=(
            "Retention period of the history, in whole months; `inf`: without end. What explains "
            "an existing partition is kept longer."
        ),
    )
    idempotency_days: float = Field(
        default=90, gt=0, description="Retention period of idempotency keys; `inf`: without end."
    )
    webhook_networks: Literal["public", "any"] = Field(
        default="public",
        description=(
            "Addresses to which notifications are sent. `public` requires https and refuses "
            "addresses of private networks, because users of an org choose the URLs."
        ),
    )
    message_days: float = Field(
        default=7,
        gt=0,
        description="Time in which a repeated message over HTTP is recognized; `inf`: without end.",
    )
    events_days: float = Field(
        default=30,
        gt=0,
        description="Retention period of events, in whole months; `inf`: without end.",
    )
    version_days: float = Field(
        default=30,
        gt=0,
        description=(
            "Retention period of DAG versions that are no longer current, with their partitions' "
            "records; `inf`: without end."
        ),
    )
    batch_size: int = Field(
        default=500, ge=1, description="Most invalidations planned in one transaction."
    )
    code_path: str = Field(
        default=".",
        description=(
            "Directories with modules of python jobs, separated by `:`, searched after installed "
            "packages. `deploy` searches the directory of the DAG file as well."
        ),
    )
    concurrency: int = Field(default=2, ge=1, description="Tasks run at once by one worker.")
    monitor_address: str | None = Field(
        default=None,
        description=(
            "`host:port` on which the process serves metrics and health; unset: nowhere. "
            "`--monitor` takes precedence."
        ),
    )
    http_address: str = Field(
        default="127.0.0.1:8321",
        description=(
            "`host:port` of the HTTP service; `--listen` takes precedence. `knockon up` selects a "
            "free port if the default one is in use."
        ),
    )
    http_body_bytes: int = Field(
        default=8 * 1024 * 1024, ge=1024, description="Most bytes of the body of an HTTP request."
    )
    http_rate: float = Field(
        default=1000,
        gt=0,
        description="Most HTTP requests per second of one key; `inf`: without limit.",
    )
    http_trusted_proxies: str = Field(
        default="",
        description=(
            "Addresses and networks of reverse proxies, separated by `,`, whose header "
            "`X-Forwarded-For` names the client; unset: none."
        ),
    )
    http_processes: int = Field(
        default=2,
        ge=1,
        description=(
            "Processes of the HTTP service for deploys, plans and audits, each with up to two "
            "database connections."
        ),
    )
    http_operation_seconds: float = Field(
        default=60,
        gt=0,
        description="Time after which a deploy, a plan or an audit over HTTP is ended.",
    )
    public_url: str | None = Field(
        default=None,
        pattern=r"^https?://[^/?#@\s\\]+$",
        description=(
            "Address of the HTTP service for browsers, `https://host`, as a reverse proxy serves "
            "it; unset: no login in a browser."
        ),
    )
    oidc_issuer: str | None = Field(
        default=None,
        pattern=r"^https?://[^?#@\s\\]+$",
        description=(
            "Issuer of OpenID Connect tokens accepted by the HTTP service; unset: keys only. "
            "Orgs admit its people with `knockon org admission`."
        ),
    )
    oidc_client_id: str | None = Field(
        default=None, description="Id of Knockon at the issuer, for logins in a browser."
    )
    oidc_client_secret: SecretStr | None = Field(
        default=None, description="Secret of `oidc_client_id`; unset: a public client."
    )
    oidc_audience: str | None = Field(
        default=None, description="Audience required in bearer tokens; unset: `oidc_client_id`."
    )
    oidc_algorithms: str = Field(
        default="RS256,ES256",
        pattern=rf"^{_ALGORITHM}(,{_ALGORITHM})*$",
        description=(
            "Signature algorithms accepted in tokens, separated by commas: RS, PS or ES with 256, "
            "384 or 512."
        ),
    )
    oidc_groups_claim: str = Field(
        default="groups", description="Claim of tokens with the groups of the person."
    )
    oidc_skew_seconds: int = Field(
        default=60,
        ge=0,
        le=300,
        description="Most difference between the clocks of the issuer and of Knockon.",
    )
    session_seconds: float = Field(
        default=43_200, gt=0, le=_YEAR, description="Longest duration of a session in a browser."
    )
    session_idle_seconds: float = Field(
        default=3_600,
        ge=120,
        le=_YEAR,
        description="Time without a request after which a session in a browser ends.",
    )
    openlineage_url: str | None = Field(
        default=None,
        repr=False,
        description=(
            "Receiver of OpenLineage events about tasks, `http://host:port` or "
            "`file:///path`; unset: none."
        ),
    )
    openlineage_api_key: SecretStr | None = Field(
        default=None, description="Bearer token for `openlineage_url`."
    )
    openlineage_namespace: str | None = Field(
        default=None,
        description=(
            "Namespace of the org's jobs and datasets in OpenLineage events; unset: "
            "`knockon://<org>`."
        ),
    )
    source_heartbeat_seconds: float = Field(
        default=5,
        gt=0,
        description=(
            "Interval between two checks of the source database, and the time limit of each."
        ),
    )
    database_pool: int = Field(
        default=10, ge=1, description="Most database connections of one process."
    )

    @property
    def lineage_namespace(self) -> str:
        """Namespace of the org's jobs and datasets in OpenLineage."""
        return self.openlineage_namespace or f"knockon://{self.org}"


def read_settings(**overrides: Any) -> Settings:
    """Read the settings of the environment. Raises InvalidInput, with a line for each bad one."""
    try:
        return Settings(**overrides)
    except ValidationError as error:
        problems = error.errors(include_url=False, include_context=False)
        lines = (_problem(str(each["loc"][0]), each["msg"], each["input"]) for each in problems)
        raise InvalidInput("\n".join(lines)) from None


def _problem(name: str, message: str, value: object) -> str:
    field = Settings.model_fields[name]
    is_secret = not field.repr or SecretStr in get_args(field.annotation)
    expected, _, _ = message.removeprefix("Input ").partition(", unable")
    shown = "" if is_secret else f", not {value!r}"
    default = "" if field.default is None else f" for the default {field.default!r}"
    remedy = f"correct the variable, or unset it{default}"
    return f"{_PREFIX}{name.upper()} {expected}{shown}: {remedy}"
