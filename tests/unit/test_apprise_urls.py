"""URLs of Apprise lead to fixed hosts of public services, and read no file."""

import pytest

from engine.apprise_urls import check_apprise_url, masked
from engine.errors import InvalidInput

pytestmark = pytest.mark.filterwarnings("ignore:'imghdr' is deprecated:DeprecationWarning")

SLACK = "slack://T1JJ3T3L2/A1BRTD4JD/TIiajkdnlazkcOXrIdevi7FQ"
WEBHOOK = "discord://4174216298/JHMHI8qBe7bk2ZwO5U711o3dV_js"


@pytest.mark.parametrize(
    "url",
    [
        SLACK,
        f"{SLACK}/%23general?footer=no",
        WEBHOOK,
        "tgram://123456789:abcdefg_hijklmnop/12315544",
        "pover://uuuuuuuuuuuuuuuuuuuuuuuuuuuuuu@tttttttttttttttttttttttttttttt?priority=high",
        "opsgenie://a1b2c3d4-1111?region=eu",
    ],
)
def test_public_services_are_permitted(url: str) -> None:
    check_apprise_url(url, "public")
    check_apprise_url(url, "any")


@pytest.mark.parametrize(
    "url",
    [
        "",
        "file:///etc/passwd",
        "syslog://localhost",
        "dbus://",
        "macosx://",
        "exec://x",
        "json://169.254.169.254/latest",
        "xml://localhost",
        "form://localhost",
        "mailto://user:pw@localhost",
        "ntfy://localhost/topic",
        "matrix://user:pw@localhost",
        "workflows://localhost/w/s",
        "https://hooks.slack.com/services/T/A/x",
        "http://localhost",
        f" {SLACK}",
        f"{SLACK}\n",
        f"{SLACK} json://localhost",
        f"json://localhost,{SLACK}",
        f"{SLACK}#general?template=/etc/passwd",
        "slack://" + "x" * 3_000,
    ],
)
def test_other_schemes_are_refused(url: str) -> None:
    with pytest.raises(InvalidInput, match="begins with one of discord, gchat"):
        check_apprise_url(url, "public")


@pytest.mark.parametrize("networks", ["public", "any"])
@pytest.mark.parametrize(
    "query",
    [
        "template=/etc/passwd",
        "template=http://localhost/x",
        "footer=no&template=/etc/passwd",
        "footer=no;template=/etc/passwd",
        "%74emplate=/etc/passwd",
        "Template=/etc/passwd",
        "template",
        "verify=no",
        "redirect=yes",
        "store=yes",
        "rto=1000",
        "avatar_url=http://localhost",
        "+x=y",
    ],
)
def test_other_parameters_are_refused(query: str, networks: str) -> None:
    with pytest.raises(InvalidInput, match="has the parameter"):
        check_apprise_url(f"{WEBHOOK}?{query}", networks)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "url",
    [
        "slack",
        "slack://",
        "pover://",
        "opsgenie://x?region=moon",
        "gchat://a",
        f"{SLACK},json://localhost",
    ],
)
def test_incomplete_urls_are_refused_without_their_secrets(url: str) -> None:
    with pytest.raises(InvalidInput, match="not a complete URL") as error:
        check_apprise_url(url, "public")
    assert str(error.value).startswith(f"{masked(url)} is")


def test_own_hosts_are_for_trusted_admins() -> None:
    for url in ("json://localhost:8080/x", "mailto://user:pw@example.com", "gotify://host/abcd"):
        check_apprise_url(url, "any")
        with pytest.raises(InvalidInput):
            check_apprise_url(url, "public")


def test_a_masked_url_names_the_service_only() -> None:
    assert masked(SLACK) == "slack://…"
