"""From the settings to what a Kafka client needs to be let in."""

import ssl
from typing import Any

from pydantic import SecretStr

from engine.errors import InvalidInput
from engine.settings import Settings


def kafka_security(settings: Settings) -> dict[str, Any]:
    """Arguments of aiokafka's clients. Raises InvalidInput where settings lack something."""
    protocol = settings.kafka_security_protocol
    said: dict[str, Any] = {"security_protocol": protocol}
    if protocol.endswith("SSL"):
        said["ssl_context"] = _tls(settings)
    if protocol.startswith("SASL"):
        said |= _sasl(settings)
    return said


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
    except OSError as error:  # SSLError is one
        raise InvalidInput(
            f"Kafka's TLS files cannot be used ({error}): look at KNOCKON_KAFKA_SSL_CA, _CERT, "
            "_KEY and _KEY_PASSWORD, which name PEM files"
        ) from error
    return context


def _plain(secret: SecretStr | None) -> str | None:
    return secret.get_secret_value() if secret else None
