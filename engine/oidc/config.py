"""Configuration of the identity provider, from the settings of the process."""

from dataclasses import dataclass, field

from engine.errors import InvalidInput
from engine.settings import Settings


@dataclass(frozen=True, slots=True)
class OidcConfig:
    """The provider, and the tokens accepted from it.

    Without a ``client_id``, the provider verifies bearer tokens only.
    """

    issuer: str
    audience: str
    client_id: str | None = None
    client_secret: str | None = field(default=None, repr=False)
    algorithms: tuple[str, ...] = ("RS256", "ES256")
    groups_claim: str = "groups"
    skew_seconds: int = 60


def oidc_config(settings: Settings) -> OidcConfig | None:
    """Return the configuration; None without an issuer. Raises InvalidInput without an audience."""
    if settings.oidc_issuer is None:
        return None
    audience = settings.oidc_audience or settings.oidc_client_id
    if audience is None:
        raise InvalidInput(
            "KNOCKON_OIDC_ISSUER is set without an audience: set KNOCKON_OIDC_CLIENT_ID or "
            "KNOCKON_OIDC_AUDIENCE, because tokens for other services must not be accepted"
        )
    secret = settings.oidc_client_secret
    return OidcConfig(
        issuer=settings.oidc_issuer,
        audience=audience,
        client_id=settings.oidc_client_id,
        client_secret=None if secret is None else secret.get_secret_value(),
        algorithms=tuple(settings.oidc_algorithms.split(",")),
        groups_claim=settings.oidc_groups_claim,
        skew_seconds=settings.oidc_skew_seconds,
    )
