"""The compose file, so that tests run on the images it names."""

from functools import cache
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[2]
FILE = ROOT / "docker-compose.yml"


@cache
def services() -> dict[str, dict[str, Any]]:
    """The services by name, with anchors resolved and variables left as written."""
    found: dict[str, dict[str, Any]] = yaml.safe_load(FILE.read_text())["services"]
    return found


def image_of(service: str) -> str:
    """The image of a service, with its tag."""
    return str(services()[service]["image"])
