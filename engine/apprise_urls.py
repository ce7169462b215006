"""Notifications by URLs of Apprise, whose schemes name services.

Users of an org choose the URLs, so only schemes with the fixed host of a public service are
permitted, and only parameters that neither read files nor name other hosts: a ``template`` may be
any file. Services on hosts of one's own are for installations in which all admins are trusted.
"""

import asyncio
from collections.abc import Iterable
from typing import Any, Final

from engine.errors import InvalidInput, ServiceUnavailable
from engine.outgoing import MOST_URL, Networks

_FIXED_HOSTS: Final = frozenset(
    {
        *("discord", "gchat", "opsgenie", "pagerduty", "pbul", "pover", "slack", "tgram"),
        *("twilio", "wxteams"),
    }
)
_OWN_HOSTS: Final = frozenset(
    {
        *("gotify", "gotifys", "json", "jsons", "mailto", "mailtos", "mmost", "mmosts"),
        *("ntfy", "ntfys", "rocket", "rockets"),
    }
)
_PARAMETERS: Final = frozenset({"footer", "format", "image", "priority", "region", "to"})
_OWN_PARAMETERS: Final = frozenset({"bcc", "cc", "channel", "from", "mode", "name", "smtp"})
_SECONDS: Final = 30.0


def check_apprise_url(url: str, networks: Networks) -> None:
    """Check that notifications may be sent to a URL. Raises InvalidInput, without the URL.

    The message does not repeat the URL, because URLs of Apprise contain secrets.
    """
    _service(url, networks)


def masked(url: str) -> str:
    """Return a URL without its secrets."""
    return f"{url.partition('://')[0]}://…"


async def notify(url: str, title: str, text: str, networks: Networks) -> None:
    """Send a notification. Raises InvalidInput, and ServiceUnavailable if it is not accepted."""
    service = _service(url, networks)
    try:
        async with asyncio.timeout(_SECONDS):
            is_sent = await asyncio.to_thread(service.notify, body=text, title=title)
    except TimeoutError:
        is_sent = False
    if not is_sent:
        raise ServiceUnavailable(f"{masked(url)} does not accept the notification")


def _service(url: str, networks: Networks) -> Any:
    """Return the service of a URL. Raises InvalidInput."""
    try:
        from apprise import Apprise, AppriseAsset
        from apprise.plugins import url_to_dict
    except ImportError:
        raise InvalidInput(
            "Apprise is not installed: install knockon[apprise] where the engines and the HTTP "
            "service run"
        ) from None
    _check_scheme(url.partition("://")[0] if _is_plain(url) else "", networks)
    # The parser of Apprise differs from others, so that its own result is checked.
    parsed = url_to_dict(url, secure_logging=True) or {}  # type: ignore[no-untyped-call]
    service = None
    if parsed:
        _check_scheme(parsed["schema"], networks)
        _check_parameters(parsed["qsd"], networks)
        asset = AppriseAsset(storage_mode="memory", async_mode=False)
        asset.http_redirects = False
        service = Apprise.instantiate(parsed, asset=asset)
    if service is None:
        raise InvalidInput(
            f"{masked(url)} is not a complete URL of the service: see its page at "
            "https://appriseit.com/services"
        )
    return service


def _is_plain(url: str) -> bool:
    return len(url) <= MOST_URL and url.isprintable() and " " not in url and "#" not in url


def _check_scheme(scheme: str, networks: Networks) -> None:
    schemes = _FIXED_HOSTS | (_OWN_HOSTS if networks == "any" else frozenset())
    if scheme not in schemes:
        raise InvalidInput(
            f"a URL for Apprise has at most {MOST_URL} characters, no space and no #, and begins "
            f"with one of {', '.join(sorted(schemes))}, followed by ://"
        )


def _check_parameters(names: Iterable[str], networks: Networks) -> None:
    allowed = _PARAMETERS | (_OWN_PARAMETERS if networks == "any" else frozenset())
    if others := set(names) - allowed:
        raise InvalidInput(
            f"the URL for Apprise has the parameter {', '.join(sorted(others))}: only "
            f"{', '.join(sorted(allowed))} are permitted"
        )
