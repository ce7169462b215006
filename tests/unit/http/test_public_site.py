"""Redirects stay on the site, and changes with a cookie come from its own pages."""

import pytest
from starlette.datastructures import Headers

from engine.errors import Forbidden
from engine.http.public_site import PublicSite, is_local_path

SITE = PublicSite("https://knockon.example.com")


@pytest.mark.parametrize("path", ["/", "/runs?day=2013-02-13#top", "/a//b", "/%0d%0aset-cookie:x"])
def test_local_paths(path: str) -> None:
    assert is_local_path(path)


@pytest.mark.parametrize(
    "path",
    [
        "",
        "runs",
        "//evil.example.com",
        "///evil.example.com",
        "/\\evil.example.com",
        "\\\\evil.example.com",
        "https://evil.example.com",
        "javascript:alert(1)",
        "/\r\nset-cookie: x=1",
        "/\t/evil.example.com",
        " //evil.example.com",
        "/ü",
        "/" + "x" * 1_000,
    ],
)
def test_other_paths(path: str) -> None:
    assert not is_local_path(path)


@pytest.mark.parametrize(
    "headers",
    [
        {"origin": SITE.url},
        {"sec-fetch-site": "same-origin"},
        {"origin": "https://KNOCKON.example.com", "sec-fetch-site": "same-origin"},
    ],
)
def test_changes_from_own_pages_are_accepted(headers: dict[str, str]) -> None:
    SITE.require_own_page("POST", Headers(headers))


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"origin": "null"},
        {"origin": ""},
        {"origin": "https://evil.example.com"},
        {"origin": "https://knockon.example.com.evil.com"},
        {"origin": "http://knockon.example.com"},
        {"origin": "https://knockon.example.com:8443"},
        {"sec-fetch-site": "same-site"},
        {"sec-fetch-site": "cross-site"},
        {"sec-fetch-site": "none"},
        {"origin": SITE.url, "sec-fetch-site": "cross-site"},
        {"origin": "https://evil.example.com", "sec-fetch-site": "same-origin"},
        {"host": "knockon.example.com", "referer": SITE.url},
    ],
    ids=repr,
)
def test_changes_from_elsewhere_are_refused(headers: dict[str, str]) -> None:
    for method in ("POST", "DELETE", "PUT", "PATCH"):
        with pytest.raises(Forbidden):
            SITE.require_own_page(method, Headers(headers))
    SITE.require_own_page("GET", Headers(headers))


def test_cookies_of_https_cannot_be_set_by_other_hosts() -> None:
    assert SITE.session_cookie == "__Host-knockon_session"
    assert PublicSite("http://localhost:8321").session_cookie == "knockon_session"
