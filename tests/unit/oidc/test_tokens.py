"""Tokens are verified at an exact time, for one issuer, audience and set of algorithms."""

import hmac
import json
from base64 import urlsafe_b64encode
from typing import Any

import pytest
from joserfc import jws
from joserfc.jwk import ECKey, Key, RSAKey

from engine.errors import Unauthenticated
from engine.model.person import Person
from engine.oidc.config import OidcConfig
from engine.oidc.tokens import person_of, read_header, verified_claims
from tests.support.identity_provider import sign

CONFIG = OidcConfig("https://login.example.com", "api")
NOW, SKEW = 1_800_000_000, CONFIG.skew_seconds
RSA = RSAKey.generate_key(2048, {"kid": "1"})
EC = ECKey.generate_key("P-256", {"kid": "2"})
CLAIMS = {
    "iss": CONFIG.issuer,
    "aud": "api",
    "sub": "4711",
    "iat": NOW,
    "exp": NOW + 300,
    "email": "ann@example.com",
    "groups": ["/finance"],
}


def token(header: dict[str, Any] | None = None, key: Key = RSA, **claims: Any) -> str:
    named = {name: value for name, value in {**CLAIMS, **claims}.items() if value is not ...}
    return sign({"alg": "RS256", "kid": "1", **(header or {})}, named, key)


def person(text: str, key: Key = RSA, config: OidcConfig = CONFIG, now: float = NOW) -> Person:
    header = read_header(text, config)
    return person_of(verified_claims(text, header, key, config, config.audience, now), config)


def encoded(value: object) -> str:
    return urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()


def test_a_person_is_read_from_a_valid_token() -> None:
    known = person(token())
    assert known == Person(CONFIG.issuer, "4711", "ann@example.com", ["/finance"], NOW)
    assert known.key == "https://login.example.com#4711"


def test_each_configured_algorithm_is_accepted_with_its_kind_of_key() -> None:
    assert person(token({"alg": "ES256"}, EC), EC).subject == "4711"
    for algorithm in ("RS512", "PS256"):
        text = token({"alg": algorithm})
        with pytest.raises(Unauthenticated, match="algorithm"):
            person(text)
        config = OidcConfig(CONFIG.issuer, "api", algorithms=(algorithm,))
        assert person(text, config=config).subject == "4711"
    with pytest.raises(Unauthenticated):
        person(token(), EC)  # the algorithm of the header does not suit the key


@pytest.mark.parametrize("algorithm", ["none", "None", "NONE", "nOnE", ""])
def test_unsigned_tokens_are_refused(algorithm: str) -> None:
    text = f"{encoded({'alg': algorithm, 'kid': '1'})}.{encoded(CLAIMS)}."
    with pytest.raises(Unauthenticated, match="algorithm"):
        person(text)


def test_the_public_key_is_no_secret() -> None:
    for secret in (RSA.as_pem(private=False), RSA.as_der(private=False)):
        for algorithm in ("HS256", "RS256"):
            text = f"{encoded({'alg': algorithm, 'kid': '1'})}.{encoded(CLAIMS)}"
            signature = hmac.digest(secret, text.encode(), "sha256")
            with pytest.raises(Unauthenticated):
                person(f"{text}.{urlsafe_b64encode(signature).rstrip(b'=').decode()}")


def test_a_changed_token_is_refused() -> None:
    header, _, signature = token().split(".")
    with pytest.raises(Unauthenticated):
        person(f"{header}.{encoded({**CLAIMS, 'sub': '1'})}.{signature}")
    with pytest.raises(Unauthenticated, match="no such key"):
        verified_claims(token(), read_header(token(), CONFIG), None, CONFIG, "api", NOW)


@pytest.mark.parametrize(
    "claims",
    [
        {"iss": "https://evil.example.com"},
        {"iss": "https://login.example.com/"},
        {"iss": ["https://login.example.com"]},
        {"iss": ...},
        {"aud": "other"},
        {"aud": ["other", "another"]},
        {"aud": []},
        {"aud": {"api": 1}},
        {"aud": ...},
        {"sub": ...},
        {"sub": ""},
        {"sub": 4711},
        {"sub": "a\nb"},
        {"sub": "x" * 1_000},
        {"exp": ...},
        {"exp": "2030-01-01"},
        {"exp": True},
        {"iat": ...},
        {"iat": NOW + SKEW + 1},
    ],
    ids=repr,
)
def test_claims_that_do_not_suit_are_refused(claims: dict[str, Any]) -> None:
    with pytest.raises(Unauthenticated, match="the token is not valid"):
        person(token(**claims))


def test_one_of_several_audiences_is_enough() -> None:
    assert person(token(aud=["other", "api"])).subject == "4711"


@pytest.mark.parametrize(
    ("claims", "is_accepted"),
    [
        ({"exp": NOW - SKEW + 1}, True),
        ({"exp": NOW - SKEW}, False),
        ({"nbf": NOW + SKEW}, True),
        ({"nbf": NOW + SKEW + 1}, False),
        ({"iat": NOW + SKEW}, True),
    ],
)
def test_clocks_may_differ_by_the_skew(claims: dict[str, Any], is_accepted: bool) -> None:
    if is_accepted:
        assert person(token(**claims)).subject == "4711"
        return
    with pytest.raises(Unauthenticated):
        person(token(**claims))


def test_the_time_is_an_argument() -> None:
    assert person(token(), now=NOW + 359).subject == "4711"
    with pytest.raises(Unauthenticated):
        person(token(), now=NOW + 361)


def test_keys_and_addresses_in_the_header_are_ignored() -> None:
    evil = RSAKey.generate_key(2048, {"kid": "1"})
    header = {
        "jku": "https://evil.example.com/keys",
        "x5u": "https://evil.example.com/cert",
        "jwk": evil.as_dict(private=False),
    }
    with pytest.raises(Unauthenticated):
        person(token(header, evil))
    assert person(token({"x-unknown": "1"})).subject == "4711"


@pytest.mark.parametrize(
    "header",
    [{"crit": ["x"], "x": 1}, {"typ": "logout+jwt"}, {"crit": ["b64"], "b64": False}],
    ids=repr,
)
def test_extensions_that_must_be_understood_are_refused(header: dict[str, Any]) -> None:
    head = encoded({"alg": "RS256", "kid": "1", **header})
    _, payload, signature = token().split(".")
    with pytest.raises(Unauthenticated):
        person(f"{head}.{payload}.{signature}")


@pytest.mark.parametrize(
    "text",
    [
        "..",
        "a.b.c",
        "é.b.c",
        f"{encoded([])}.b.c",
        f"{encoded({'alg': 'RS256'})}.b.c",
        f"{encoded({'alg': 'RS256', 'kid': 1})}.b.c",
        f"{urlsafe_b64encode(b'[' * 4_000).decode()}.b.c",
        f"{encoded({'alg': 'RS256', 'kid': '1', 'x': 'y' * 20_000})}.b.c",
        f"{encoded({'alg': 'RS256', 'kid': '1'})}.b.c",
        f"{encoded({'alg': 'RS256', 'kid': '1'})}.{'[' * 9_000}.c",
    ],
    ids=lambda text: text[:20],
)
def test_texts_that_are_no_tokens_are_refused(text: str) -> None:
    with pytest.raises(Unauthenticated):
        person(text)


def test_a_signed_payload_that_is_no_object_is_refused() -> None:
    for payload in (b"[" * 8_000, b"[]", b"\xff", b'{"sub": NaN}'):
        text = jws.serialize_compact({"alg": "RS256", "kid": "1"}, payload, RSA)
        with pytest.raises(Unauthenticated):
            person(text)


@pytest.mark.parametrize(
    ("claims", "email"),
    [
        ({"email": ...}, None),
        ({"email": ["a@b"]}, None),
        ({"email": "x" * 400}, None),
        ({"email": "x"}, None),
        ({"email": "a\x1b[31m@b"}, None),
        ({"email": "a@b\nc@d"}, None),
        ({"email_verified": False}, None),
        ({"email_verified": "false"}, None),
        ({"email_verified": True}, "ann@example.com"),
    ],
    ids=repr,
)
def test_an_unverified_address_is_not_used(claims: dict[str, Any], email: str | None) -> None:
    assert person(token(**claims)).email == email


@pytest.mark.parametrize(
    ("groups", "read"),
    [(..., []), ("one", ["one"]), (["a", 1, None, "b"], ["a", "b"]), ({"a": 1}, []), (None, [])],
)
def test_groups_are_a_list_of_texts(groups: Any, read: list[str]) -> None:
    assert person(token(groups=groups)).groups == read


def test_a_groups_claim_may_have_another_name() -> None:
    config = OidcConfig(CONFIG.issuer, "api", groups_claim="https://example.com/roles")
    text = token(**{"https://example.com/roles": ["x"]})
    assert person(text, config=config).groups == ["x"]
