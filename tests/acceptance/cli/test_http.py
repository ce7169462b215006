"""`knockon serve`, and the HTTP service of `knockon up`."""

import json
import socket
from pathlib import Path

import httpx2

from tests.acceptance.cli.conftest import MINIMAL, Knockon, environment
from tests.support.identity_provider import AUDIENCE, CLIENT, SECRET, identity_provider


def client_of(address: str, key: str) -> httpx2.Client:
    headers = {"Authorization": f"Bearer {key}"}
    return httpx2.Client(base_url=f"http://{address}/api/v1", headers=headers, timeout=20)


def test_a_database_is_served_to_keys(shop: Knockon, address: str) -> None:
    shop("users", "add", "ann@example.com", "writer")
    key = shop("keys", "create", "ann@example.com", "ci", "--scope", "api", "--json").json["key"]
    with (
        shop.running("serve", "--listen", address, until="HTTP service is up") as service,
        client_of(address, key) as client,
    ):
        body = {"dataset": "orders", "partitions": ["2026-02-03"]}
        assert client.post("/invalidations", json=body).status_code == 201
        with client.stream("GET", "/events/stream") as response:
            assert response.status_code == 200
            assert service.stop() == 0
            assert "retry" in "".join(response.iter_text())
    (row, *_) = shop("invalidations", "--json").json
    assert row["partition_key"] == "2026-02-03"


async def test_a_provider_is_configured_by_settings(
    shop: Knockon, address: str, tmp_path: Path
) -> None:
    async with identity_provider() as provider:
        terms = {"issuer": provider.issuer, "creates_users": True, "default_role": "reader"}
        (tmp_path / "terms.json").write_text(json.dumps(terms))
        settings = {
            "KNOCKON_OIDC_ISSUER": provider.issuer,
            "KNOCKON_PUBLIC_URL": "https://knockon.test",
        }
        knockon = Knockon(shop.env | settings)
        assert "without an audience" in knockon("serve", code=1).err
        settings |= {"KNOCKON_OIDC_AUDIENCE": AUDIENCE, "KNOCKON_OIDC_CLIENT_ID": CLIENT}
        knockon = Knockon(shop.env | settings | {"KNOCKON_OIDC_CLIENT_SECRET": SECRET})
        knockon("org", "admission", tmp_path / "terms.json")
        with knockon.running("serve", "--listen", address, until="HTTP service is up"):
            token, url = provider.token("ann"), f"http://{address}/api/v1"
            async with httpx2.AsyncClient(base_url=url, timeout=20) as client:
                headers = {"Authorization": f"Bearer {token}", "Knockon-Org": "default"}
                me = await client.get("/me", headers=headers)
                assert (me.json()["user"], me.json()["role"]) == ("ann@example.com", "reader")
                login = await client.get("/login")
                assert login.headers["location"].startswith(f"{provider.issuer}/authorize?")
                assert "__Host-knockon_login" in login.headers["set-cookie"]


def test_an_address_in_use_is_reported(shop: Knockon) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        where = f"127.0.0.1:{taken.getsockname()[1]}"
        assert "cannot listen" in shop("serve", "--listen", where, code=1).err
    assert "host:port" in shop("serve", "--listen", "nowhere", code=1).err


def test_up_serves_with_a_key_until_the_end(tmp_path: Path) -> None:
    knockon = Knockon(environment(tmp_path))
    with knockon.running("up", until="Knockon is up.") as service:
        address = service.wait_for("http ")[-1].split()[1].removeprefix("http://")
        key = service.wait_for("key ")[-1].split()[1]
        service.wait_for("worker is up")
        with client_of(address, key) as client:
            assert client.get("/me").json()["user"] == "local@localhost"
            assert client.post("/deploys", json={"files": [MINIMAL.read_text()]}).json()["dags"]
            assert client.get("/jobs").json()["items"]
        (row,) = knockon("keys", "--json").json
        assert row["is_valid"]
        assert service.stop() == 0
