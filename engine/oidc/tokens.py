"""Verification of tokens, which are signed by the provider for one audience and a short time."""

from base64 import urlsafe_b64decode
from typing import Any, Final

import msgspec
from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import Key
from joserfc.jws import JWSRegistry
from joserfc.jwt import JWTClaimsRegistry

from engine.errors import Unauthenticated
from engine.model.person import Person, is_address, person_key
from engine.oidc.config import OidcConfig

_LONGEST_TOKEN: Final = 16_384
_TYPES: Final = (None, "jwt", "at+jwt", "application/at+jwt")
"""Types of ID tokens and access tokens; those of other types, such as logouts, log nobody in."""
_MOST_GROUPS: Final = 1_000


class Header(msgspec.Struct, frozen=True):
    """The parameters of a token's header that select the key; those with keys are ignored."""

    alg: str
    kid: str
    typ: str | None = None


class _Signatures(JWSRegistry):
    max_header_length = 8_192


def read_header(token: str, config: OidcConfig) -> Header:
    """Return the header of a token with a permitted algorithm. Raises Unauthenticated."""
    try:
        if len(token) > _LONGEST_TOKEN:
            raise ValueError(f"it has more than {_LONGEST_TOKEN:,} characters")
        encoded = token.partition(".")[0]
        header = msgspec.json.decode(_decoded(encoded), type=Header)
    except (msgspec.DecodeError, ValueError, RecursionError) as error:
        raise _invalid(f"its header cannot be read ({error})") from None
    if header.alg not in config.algorithms:
        raise _invalid(f"its algorithm is none of {', '.join(config.algorithms)}")
    if (header.typ and header.typ.lower()) not in _TYPES:
        raise _invalid("it is neither an access token nor an ID token")
    return header


def verified_claims(
    token: str, header: Header, key: Key | None, config: OidcConfig, audience: str, now: float
) -> dict[str, Any]:
    """Return the claims of a token, verified at a time. Raises Unauthenticated."""
    if key is None:
        raise _invalid("the issuer has no such key")
    expected = JWTClaimsRegistry(
        now=int(now),
        leeway=config.skew_seconds,
        iss={"essential": True, "value": config.issuer},
        aud={"essential": True, "value": audience},
        sub={"essential": True},
        exp={"essential": True},
        iat={"essential": True},
    )
    registry = _Signatures(algorithms=[header.alg], strict_check_header=False)
    try:
        claims = jwt.decode(token, key, [header.alg], registry).claims
        expected.validate(claims)
    except (JoseError, ValueError, TypeError, RecursionError) as error:
        raise _invalid(str(error)) from None
    return claims


def person_of(claims: dict[str, Any], config: OidcConfig) -> Person:
    """Return the person of verified claims. Raises Unauthenticated for an unusable subject."""
    subject = claims["sub"]
    try:
        person_key(config.issuer, subject)
    except ValueError as error:
        raise _invalid(str(error)) from None
    groups = claims.get(config.groups_claim)
    listed = groups if isinstance(groups, list) else [groups]
    return Person(
        config.issuer,
        subject,
        _email(claims),
        [group for group in listed[:_MOST_GROUPS] if isinstance(group, str)],
        max(int(claims["iat"]), 0),
    )


def _email(claims: dict[str, Any]) -> str | None:
    """Return the e-mail address, unless the provider has not verified it."""
    email = claims.get("email")
    if not isinstance(email, str) or claims.get("email_verified", True) is not True:
        return None
    return email if is_address(email) else None


def _decoded(encoded: str) -> bytes:
    return urlsafe_b64decode(encoded + "=" * (-len(encoded) % 4))


def _invalid(why: str) -> Unauthenticated:
    return Unauthenticated(f"the token is not valid: {why}. Log in again to get another")
