"""The service as browsers see it: its address, its cookies, and requests from its own pages."""

from dataclasses import dataclass
from typing import Final

from starlette.datastructures import Headers
from starlette.responses import Response

from engine.errors import Forbidden

_SAFE_METHODS: Final = frozenset({"GET", "HEAD", "OPTIONS"})
_LONGEST_PATH: Final = 1_000
_LOGIN_SECONDS: Final = 600


@dataclass(frozen=True, slots=True)
class PublicSite:
    """The public address, as configured and never as in the header Host, and limits of sessions."""

    url: str
    session_seconds: float = 43_200
    idle_seconds: float = 3_600

    @property
    def session_cookie(self) -> str:
        """Return the name of the cookie with the secret of a session."""
        return self._cookie("session")

    @property
    def login_cookie(self) -> str:
        """Return the name of the cookie of a login in progress."""
        return self._cookie("login")

    def keep_login(self, response: Response, value: str) -> None:
        """Have the browser keep a login in progress."""
        self._set(response, self.login_cookie, value, _LOGIN_SECONDS)

    def keep_session(self, response: Response, value: str) -> None:
        """Have the browser keep the secret of a session, until its longest duration."""
        self._set(response, self.session_cookie, value, int(self.session_seconds))

    def forget(self, response: Response, cookie: str) -> None:
        """Have the browser remove a cookie."""
        self._set(response, cookie, "", 0)

    def require_own_page(self, method: str, headers: Headers) -> None:
        """Raise Forbidden for a change that another site may have caused, with the cookie."""
        if method in _SAFE_METHODS:
            return
        origin, fetch_site = headers.get("origin"), headers.get("sec-fetch-site")
        is_same = origin is None or origin.lower() == self.url.lower()
        if (origin or fetch_site) is None or not is_same or fetch_site not in (None, "same-origin"):
            raise Forbidden(
                "a change with the cookie of a session is accepted from pages of "
                f"{self.url} only: send a key or token instead of the cookie"
            )

    @property
    def _is_secure(self) -> bool:
        return self.url.lower().startswith("https:")

    def _cookie(self, name: str) -> str:
        """Return the name of a cookie, which with this prefix no other host can set."""
        return f"__Host-knockon_{name}" if self._is_secure else f"knockon_{name}"

    def _set(self, response: Response, cookie: str, value: str, seconds: int) -> None:
        response.set_cookie(
            cookie,
            value,
            max_age=seconds,
            path="/",
            secure=self._is_secure,
            httponly=True,
            samesite="lax",
        )


def is_local_path(text: str) -> bool:
    """Return whether a redirect to a path stays on the site, however a browser reads it."""
    return (
        text.startswith("/")
        and not text.startswith("//")
        and "\\" not in text
        and " " not in text
        and text.isascii()
        and text.isprintable()
        and len(text) <= _LONGEST_PATH
    )
