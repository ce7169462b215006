"""Compose and the stack under test."""

import json
import os
import shutil
import subprocess
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from engine.errors import ServiceUnavailable
from tests.support.compose import FILE, services

_PROJECT = "knockon-test"
_PATIENCE_SECONDS = 240.0
_MODULE = "github.com/docker/compose/v2"
_VERSION = "v2.40.3"


@dataclass
class Stack:
    """The stack of the compose file under a separate project name."""

    compose: list[str]
    variables: Mapping[str, str] = field(default_factory=dict)

    def __call__(self, *args: str, stdin: str = "", code: int = 0) -> str:
        """Run a command of Compose and return its output; the exit status must be ``code``."""
        command = [*self.compose, "--file", str(FILE), "--project-name", _PROJECT, *args]
        environment = os.environ | {"DOCKER_BUILDKIT": "0", "COMPOSE_BAKE": "false"}
        done = subprocess.run(
            command,
            env=environment | self.variables,
            input=stdin,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == code, (
            f"{' '.join(args)}: {done.stdout[-3000:]}{done.stderr[-3000:]}"
        )
        return done.stdout + done.stderr

    def knockon(self, *args: str, stdin: str = "", code: int = 0) -> str:
        """Run a command of Knockon in the engine's container."""
        return self("exec", "-T", "engine", "knockon", *args, stdin=stdin, code=code)

    def sql(self, statement: str) -> str:
        """Run SQL in the database's container and return the rows."""
        psql = ("psql", "--username", "postgres", "-At", "--command", statement, "knockon")
        return self("exec", "-T", "postgres", *psql).strip()

    def container(self, service: str) -> str:
        """The container id of a service, running or stopped."""
        return self("ps", "--all", "--quiet", service).split()[0]

    def state(self, service: str) -> Any:
        """State of a service's container: process, health, exit code."""
        return inspect(self.container(service))["State"]

    def health(self, service: str) -> str:
        """The verdict of a service's health check."""
        return str(self.state(service).get("Health", {}).get("Status"))

    def is_healthy(self) -> bool:
        """Check that every service runs and every health check passes."""
        return all(self.health(name) == "healthy" for name in services() if name != "migrate")


def inspect(what: str) -> Any:
    """The engine's description of a container or an image."""
    done = subprocess.run(["docker", "inspect", what], check=True, capture_output=True)
    return json.loads(done.stdout)[0]


def until(condition: Callable[[], bool], what: str) -> float:
    """Wait for a condition; returns the elapsed seconds."""
    began = time.monotonic()
    while not condition():
        assert time.monotonic() - began < _PATIENCE_SECONDS, f"never came true: {what}"
        time.sleep(0.5)
    return time.monotonic() - began


def compose_command(cache: Path) -> list[str]:
    """The installed Compose, or a build of its release by Go. Raises ServiceUnavailable."""
    if not subprocess.run(["docker", "compose", "version"], capture_output=True).returncode:
        return ["docker", "compose"]
    built = cache / f"docker-compose-{_VERSION}"
    found = shutil.which("docker-compose-v2") or (str(built) if built.exists() else None)
    if found is None:
        _build_compose(built)
    return [found or str(built)]


def _build_compose(built: Path) -> None:
    if shutil.which("go") is None:
        raise ServiceUnavailable("there is no Docker Compose: install its plugin, version 2")
    print(f"building Docker Compose {_VERSION}, which takes minutes", flush=True)
    environment = os.environ | {"GOFLAGS": "-mod=mod"}
    built.parent.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory() as directory:
        for command in (
            ["go", "mod", "init", "compose"],
            ["go", "get", f"{_MODULE}@{_VERSION}"],
            ["go", "build", "-o", str(built), f"{_MODULE}/cmd"],
        ):
            done = subprocess.run(
                command, cwd=directory, env=environment, capture_output=True, text=True
            )
            if done.returncode:
                raise ServiceUnavailable(f"Compose could not be built: {done.stderr[-1000:]}")
