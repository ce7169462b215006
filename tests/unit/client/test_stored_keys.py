"""The file of keys."""

from pathlib import Path

import pytest

from engine.client.server import Server
from engine.client.stored_keys import keys_file, remove_key, store_key, stored_key
from engine.errors import InvalidInput, Unauthenticated

ONE, OTHER = "https://one.example.com", "https://other.example.com"


@pytest.fixture(autouse=True)
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.delenv("KNOCKON_KEY", raising=False)
    return tmp_path


def test_keys_are_stored_by_server_for_the_user_only() -> None:
    assert stored_key(ONE) is None
    file = store_key(ONE, "kn_1")
    store_key(OTHER, "kn_2")
    store_key(ONE, "kn_3")
    assert (stored_key(ONE), stored_key(OTHER)) == ("kn_3", "kn_2")
    assert file == keys_file()
    assert file.stat().st_mode & 0o777 == 0o600
    assert file.parent.stat().st_mode & 0o777 == 0o700
    assert [*file.parent.iterdir()] == [file]
    assert remove_key(ONE)
    assert not remove_key(ONE)
    assert (stored_key(ONE), stored_key(OTHER)) == (None, "kn_2")


def test_a_file_open_to_others_is_refused() -> None:
    file = store_key(ONE, "kn_1")
    file.chmod(0o640)
    with pytest.raises(InvalidInput, match="chmod 600"):
        stored_key(ONE)


def test_a_malformed_file_is_refused_without_its_content() -> None:
    file = store_key(ONE, "kn_1")
    file.write_text('{"kn_secret')
    with pytest.raises(InvalidInput, match="not a file of keys") as refusal:
        stored_key(ONE)
    assert "kn_secret" not in str(refusal.value)


def test_the_environment_takes_precedence(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(Unauthenticated, match="run 'knockon login --server https"):
        Server(ONE)
    store_key(ONE, "kn_stored")
    monkeypatch.setenv("KNOCKON_KEY", "kn with\nheader")
    with pytest.raises(Unauthenticated, match="no key of Knockon"):
        Server(ONE)
    monkeypatch.delenv("KNOCKON_KEY")
    Server(ONE).close()
