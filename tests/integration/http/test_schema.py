"""The whole OpenAPI document under schemathesis, with the key of each role."""

import asyncio
import os
import sys
from asyncio.subprocess import PIPE, STDOUT
from pathlib import Path
from time import monotonic

import pytest

from engine.flow.retention.publish import publish
from engine.http import claims
from engine.http.app import Limits
from engine.model.states import Role
from tests.integration.http.conftest import DAY, Site, add_people, serving
from tests.support.worlds import World

_EXECUTABLE = Path(sys.executable).with_name("schemathesis")
_EXAMPLES = os.environ.get("SCHEMA_EXAMPLES", "2")
_CONFIG = """
[checks]
# Some rules are beyond JSON Schema: names and ids that must exist, fields that exclude each other.
positive_data_acceptance.expected-statuses = ["2xx", "303", "401", "403", "404", "409", "422"]
"""


@pytest.mark.timeout(900)
@pytest.mark.parametrize("role", Role)
async def test_schemathesis_finds_nothing(
    worlds: tuple[World, World], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, role: Role
) -> None:
    monkeypatch.setattr(claims, "monotonic", lambda: monotonic() * 100)  # waits of 30 seconds
    async with serving(*worlds, limits=Limits(per_second=1e6, failures=1e6)) as site:
        await add_people(site)
        await site.world.changed("a", DAY)
        async with site.world.conn() as conn:
            await publish(conn)
        found = await _found(site, role, tmp_path)
    assert not found, found


async def _found(site: Site, role: Role, directory: Path) -> str:
    """Run the boundary values of all parameters, and sequences of requests; return what fails."""
    (directory / "schemathesis.toml").write_text(_CONFIG)
    process = await asyncio.create_subprocess_exec(
        _EXECUTABLE,
        "run",
        f"{site.url}/api/v1/openapi.json",
        f"--header=Authorization: Bearer {site.keys[role]}",
        f"--max-examples={_EXAMPLES}",
        "--checks=all",
        "--phases=examples,coverage,fuzzing,stateful",
        "--exclude-operation-id=stream_events",  # has no end
        "--max-response-time=30",
        "--warnings=off",
        "--no-color",
        cwd=directory,
        stdout=PIPE,
        stderr=STDOUT,
    )
    output, _ = await process.communicate()
    return output.decode() if process.returncode else ""
