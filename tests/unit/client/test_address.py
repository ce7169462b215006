"""Addresses to which keys are sent."""

import pytest

from engine.client.address import server_url
from engine.errors import InvalidInput


@pytest.mark.parametrize(
    ("text", "url"),
    [
        ("https://knockon.example.com", "https://knockon.example.com"),
        ("https://Knockon.Example.com:8443/", "https://knockon.example.com:8443"),
        ("https://example.com/knockon/", "https://example.com/knockon"),
        ("https://example.com/api/v1", "https://example.com"),
        ("http://127.0.0.1:8321", "http://127.0.0.1:8321"),
        ("http://localhost:8321/", "http://localhost:8321"),
        ("http://[::1]:8321", "http://[::1]:8321"),
    ],
)
def test_an_address_is_brought_into_one_form(text: str, url: str) -> None:
    assert server_url(text) == url


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("http://10.0.0.7:8321", "unencrypted"),
        ("http://localhost.example.com", "unencrypted"),
        ("http://127.0.0.1.example.com", "unencrypted"),
        ("https://ann:secret@example.com", "user or password"),
        ("http://127.0.0.1@example.com", "user or password"),
        ("https://example.com?x=1", "after the path"),
        ("knockon.example.com", "not a URL"),
        ("ftp://example.com", "not a URL"),
        ("https://", "not a URL"),
        ("https://example.com:99999", "not a URL"),
        ("https://exa\x1bmple.com", "not a URL"),
    ],
)
def test_an_unsuitable_address_is_refused(text: str, message: str) -> None:
    with pytest.raises(InvalidInput, match=message) as refusal:
        server_url(text)
    assert "secret" not in str(refusal.value)


def test_http_is_possible_on_request() -> None:
    assert server_url("http://10.0.0.7:8321", allows_http=True) == "http://10.0.0.7:8321"
