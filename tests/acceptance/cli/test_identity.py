"""Users, roles and keys, managed from the command line."""

from pathlib import Path

from tests.acceptance.cli.conftest import Knockon


def test_users_and_roles_are_managed(shop: Knockon) -> None:
    assert shop("users").out == "no users: knockon users add EMAIL ROLE\n"
    assert "ann@x.org has the role writer" in shop("users", "add", "ann@x.org", "writer").out
    assert "has the role reader" in shop("users", "set-role", "ann@x.org", "reader").out
    shop("roles", "add", "finance", "--name", "Finance department")
    assert "is a member" in shop("roles", "grant", "finance", "ann@x.org").out
    assert "Finance department" in shop("roles").out
    assert "no longer a member" in shop("roles", "revoke", "finance", "ann@x.org").out
    assert "is removed" in shop("roles", "remove", "finance").out
    assert "no longer a user" in shop("users", "remove", "ann@x.org", "--by", "eve").out
    changes = shop("users", "changes", "--json").json
    assert [(change["change"], change["actor"]) for change in changes[:1]] == [
        ("user.removed", "eve")
    ]


def test_terms_of_admission_are_managed(shop: Knockon, tmp_path: Path) -> None:
    assert "nobody is admitted" in shop("org", "admission").out
    terms = tmp_path / "terms.json"
    terms.write_text('{"issuer": "https://login.example.com", "roles": {"leads": "admin"}}')
    assert '"leads": "admin"' in shop("org", "admission", terms).out
    assert shop("org", "admission", "--json").json["creates_users"] is False
    terms.write_text('{"issuer": "https://login.example.com", "roles": {"leads": "king"}}')
    assert "does not contain terms of admission" in shop("org", "admission", terms, code=1).err
    assert "cannot read" in shop("org", "admission", tmp_path / "none.json", code=1).err
    assert "nobody is admitted" in shop("org", "admission", "none", "--by", "eve").out
    (newest, *_) = shop("users", "changes", "--json").json
    assert (newest["subject"], newest["actor"]) == ("admission", "eve")


def test_keys_are_managed(shop: Knockon) -> None:
    shop("users", "add", "ann@x.org", "writer")
    scope = ("--scope", "ingest", "--scope", "read", "--expires", "90d")
    key, note = shop("keys", "create", "ann@x.org", "nightly", *scope).out.splitlines()
    assert key.startswith("kn_")
    assert "shown only now" in note
    (row,) = shop("keys", "--json").json
    assert (row["name"], row["scopes"], row["is_valid"]) == ("nightly", ["ingest", "read"], True)
    prefix = row["prefix"]
    assert "is revoked" in shop("keys", "revoke", prefix).out
    assert "to be revoked" in shop("keys", "revoke", prefix, code=1).err
    listed = shop("keys").out
    assert "revoked" in listed
    assert key not in listed
