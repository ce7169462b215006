"""The endpoints and signing keys of the provider, as it publishes them."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlsplit

import structlog
from joserfc.errors import JoseError
from joserfc.jwk import ECKey, Key, RSAKey, import_key

from engine.errors import ServiceUnavailable
from engine.oidc.fetch import fetch_json

_log = structlog.get_logger(__name__)
_MOST_KEYS: Final = 100
_LEAST_RSA_BITS: Final = 2_048


@dataclass(frozen=True, slots=True)
class Metadata:
    """Endpoints of the provider, and its public keys by id."""

    authorization_endpoint: str
    token_endpoint: str
    keys: Mapping[str, Key]


async def fetch_metadata(issuer: str) -> Metadata:
    """Fetch the discovery document and the keys of an issuer. Raises ServiceUnavailable."""
    document = await _fetch(f"{issuer.rstrip('/')}/.well-known/openid-configuration")
    if document.get("issuer") != issuer:
        raise ServiceUnavailable(
            f"the discovery document is of the issuer {document.get('issuer')!r}: set "
            "KNOCKON_OIDC_ISSUER to the exact issuer of the tokens"
        )
    published = await _fetch(_endpoint(document, "jwks_uri", issuer))
    return Metadata(
        _endpoint(document, "authorization_endpoint", issuer),
        _endpoint(document, "token_endpoint", issuer),
        dict(_signing_keys(published.get("keys"))),
    )


async def _fetch(url: str) -> dict[str, Any]:
    status, document = await fetch_json(url)
    if status != 200:
        raise ServiceUnavailable(f"the identity provider answers {url} with status {status}")
    return document


def _endpoint(document: Mapping[str, Any], name: str, issuer: str) -> str:
    """Return an endpoint. Raises ServiceUnavailable for one less protected than the issuer."""
    url = document.get(name)
    schemes = ("https", "http") if urlsplit(issuer).scheme == "http" else ("https",)
    if not isinstance(url, str) or urlsplit(url).scheme not in schemes:
        raise ServiceUnavailable(f"the discovery document has no {name} with {schemes[0]}")
    return url


def _signing_keys(published: object) -> Iterable[tuple[str, Key]]:
    """Yield the keys with an id that verify signatures; others of the set have other uses."""
    for each in (published if isinstance(published, list) else [])[:_MOST_KEYS]:
        key = _signing_key(each)
        if key is not None:
            yield each["kid"], key


def _signing_key(published: object) -> Key | None:
    if not isinstance(published, dict) or not isinstance(published.get("kid"), str):
        return None
    # Secrets are never published: with a symmetric key, anybody could sign.
    if published.get("kty") not in ("RSA", "EC") or published.get("use", "sig") != "sig":
        return None
    try:
        key = import_key(published)
    except (JoseError, ValueError, TypeError, KeyError) as error:
        _log.warning("a key of the identity provider cannot be read", why=str(error))
        return None
    return key if _is_strong(key) else None


def _is_strong(key: Key) -> bool:
    if isinstance(key, RSAKey):
        return key.public_key.key_size >= _LEAST_RSA_BITS
    return isinstance(key, ECKey)
