"""Check for literal secrets in a DAG file, which would be stored with every version of the DAG."""

from collections.abc import Iterator

from engine.model.dag import JobSpec
from engine.model.dag_sources import MessageSource
from engine.model.references import PREFIX, literal_secrets
from engine.model.source_positions import Path, Problem

_MESSAGE = (
    f"this contains a secret, and DAG files are stored: write ${{NAME}} instead, and set "
    f"{PREFIX}NAME in the environment of the process"
)


def check_secrets(job: JobSpec, path: Path) -> Iterator[Problem]:
    """Report literal passwords, tokens and keys; ``shell`` jobs pass them in ``config.env``."""
    written = {
        "description": job.description,
        "source": job.source.model_dump(exclude_none=True) if job.source else None,
        "config": job.config,
        "outputs": [{"storage": output.storage} for output in job.outputs],
    }
    for at in literal_secrets(written):
        yield Problem((*path, *at), _MESSAGE)
    if isinstance(job.source, MessageSource) and job.source.registry:
        yield from _check_registry(job.source.registry, (*path, "source", "registry"))


def _check_registry(url: str, path: Path) -> Iterator[Problem]:
    user, at, _ = url.partition("://")[2].partition("/")[0].rpartition("@")
    if at and ":" not in user and not user.startswith("${"):
        yield Problem(path, _MESSAGE)
