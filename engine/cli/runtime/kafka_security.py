"""Security options of Kafka clients, from the settings."""

import ssl
from typing import Any

from pydantic import SecretStr

from engine.errors import InvalidInput
from engine.settings import Settings


def kafka_security(settings: Settings) -> dict[str, Any]:
    """Arguments for aiokafka's clients. Raises InvalidInput if required settings are missing."""
    protocol = settings.kafka_security_protocol
    options: dict[str, Any] = {"security_protocol": protocol}
    if protocol.endswith("SSL"):
        options["ssl_context"] = _tls(settings)
    if protocol.startswith("SASL"):
        options |= _sasl(settings)
    return options


def _sasl(settings: Settings) -> dict[str, str]:
    user, password = settings.kafka_sasl_username, _plain(settings.kafka_sasl_password)
    if not user or not password:
        raise InvalidInput(
            f"{settings.kafka_security_protocol} needs a user: set KNOCKON_KAFKA_SASL_USERNAME "
            "and KNOCKON_KAFKA_SASL_PASSWORD"
        )
    return {
        "sasl_mechanism": settings.kafka_sasl_mechanism,
        "sasl_plain_username": user,
        "sasl_plain_password": password,
    }


def _tls(settings: Settings) -> ssl.SSLContext:
    try:
        context = ssl.create_default_context(cafile=settings.kafka_ssl_ca)
        if settings.kafka_ssl_cert:
            secret = _plain(settings.kafka_ssl_key_password) or ""
            context.load_cert_chain(settings.kafka_ssl_cert, settings.kafka_ssl_key, secret)
    except OSError as error:  # also the base class of SSLError
        raise InvalidInput(
            f"cannot use Kafka's TLS files ({error}): check the PEM files named by "
            "KNOCKON_KAFKA_SSL_CA, _CERT and _KEY, and KNOCKON_KAFKA_SSL_KEY_PASSWORD"
        ) from error
    return context


def _plain(secret: SecretStr | None) -> str | None:
    return secret.get_secret_value() if secret else None
