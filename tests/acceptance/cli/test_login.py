"""Keys and addresses of servers on the command line."""

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from tests.acceptance.cli.conftest import Knockon, environment

KEY = "kn_abcdefgh_0123456789abcdef0123456789"
NASTY = "[bold]x\x1b]0;owned\x07\x9b1m\u202etxt"
OTHER_HOST = "http://127.0.0.2:9"


class _Handler(BaseHTTPRequestHandler):
    """A server of an attacker: it answers with control characters, or redirects."""

    def do_GET(self) -> None:
        self.server.seen.append(self.headers.get("Authorization"))  # type: ignore[attr-defined]
        if self.path.startswith("/away"):
            self.send_response(307)
            self.send_header("Location", OTHER_HOST)
            self.end_headers()
            return
        problem = {"type": "urn:knockon:problem:x", "title": "t", "status": 400, "detail": NASTY}
        self.send_response(400)
        self.send_header("Content-Type", "application/problem+json")
        self.end_headers()
        self.wfile.write(json.dumps(problem).encode())

    def log_message(self, *_: object) -> None:
        """Print nothing."""


@pytest.fixture
def attacker() -> Iterator[HTTPServer]:
    server = HTTPServer(("127.0.0.1", 0), _Handler)
    server.seen = []  # type: ignore[attr-defined]
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def user(tmp_path: Path) -> Knockon:
    return Knockon(environment(tmp_path, XDG_CONFIG_HOME=str(tmp_path / "config")))


def test_a_key_is_checked_stored_and_removed(shop: Knockon, address: str, user: Knockon) -> None:
    shop("users", "add", "ann@example.com", "reader")
    key = shop("keys", "create", "ann@example.com", "k", "--scope", "read", "--json").json["key"]
    server = ("--server", f"http://{address}/")
    file = Path(user.env["XDG_CONFIG_HOME"]) / "knockon" / "keys.json"
    with shop.running("serve", "--listen", address, until="HTTP service is up"):
        unknown = key[:-1] + ("a" if key[-1] != "a" else "b")
        refused = user("login", *server, stdin=f"{unknown}\n", code=1).err
        assert "error: the key is unknown" in refused
        assert not file.exists()
        said = user("login", *server, stdin=f"{key}\n")
        assert "the key of ann@example.com (reader of org default)" in said.out
        assert key not in said.out + said.err
        assert file.stat().st_mode & 0o777 == 0o600
        assert "daily_sales" in user("jobs", *server).out
        assert "requires the role writer" in user("invalidate", "orders", *server, code=1).err
        refused = user("pause", "org", "--by", "eve", *server, code=1).err
        assert "--by 'eve' is not possible with a server" in refused
        other = user("jobs", "--org", "x", *server, code=1).err
        assert "the key is of org 'default', not 'x'" in other
        checks = user(
            "doctor",
            *server,
        ).out
        assert f"http://{address}/ as ann@example.com of org default" in checks
        assert user("logout", *server, "--json").json == {"removed": True}
        assert "there is no key for http" in user("jobs", *server, code=1).err


@pytest.mark.parametrize(
    "command",
    [
        ["engine"],
        ["worker"],
        ["consume"],
        ["serve"],
        ["up"],
        ["migrate"],
        ["psql"],
    ],
)
def test_commands_for_the_database_are_refused(user: Knockon, command: list[str]) -> None:
    error = user(*command, "--server", "https://knockon.example.com", code=1).err
    assert "works on the database, not through a server" in error


def test_a_key_is_not_sent_in_clear_text_or_to_another_host(
    user: Knockon, attacker: HTTPServer
) -> None:
    user.env["KNOCKON_KEY"] = KEY
    error = user("jobs", "--server", "http://10.0.0.7:8321", code=1).err
    assert "unencrypted" in error
    port = attacker.server_address[1]
    error = user("jobs", "--server", f"http://127.0.0.1:{port}/away", code=1).err
    assert f"redirects to {OTHER_HOST}, to which no key is sent" in error
    both = user("jobs", "--server", "https://x.example.com", "--database-url", "x", code=1).err
    assert "give one of them" in both


def test_text_of_a_server_cannot_act_on_the_terminal(user: Knockon, attacker: HTTPServer) -> None:
    user.env["KNOCKON_KEY"] = KEY
    done = user("jobs", "--server", f"http://127.0.0.1:{attacker.server_address[1]}", code=1)
    assert "␛]0;owned" in done.err
    assert not any(unsafe in done.out + done.err for unsafe in ("\x1b", "\x07", "\x9b", "\u202e"))
    assert KEY not in done.out + done.err
    assert attacker.seen == [f"Bearer {KEY}"]  # type: ignore[attr-defined]
