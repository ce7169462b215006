"""The file of a DAG version: its text as written, or else its content written anew."""

import re
from typing import Any

import msgspec

from engine.errors import InvalidInput
from engine.lineage.compiled import CompiledDag
from engine.model.dag import DagFile
from engine.model.plainyaml_writer import write_yaml
from engine.model.references import literal_secrets
from engine.printable import printable

_COMMENT = re.compile(r"#(.*)")
_ASSIGNMENT = re.compile(r"([\w-]+)[\"']?\s*[:=]\s*(\S.*)")


def storable_text(dag: DagFile) -> str | None:
    """Return the text of the DAG's file for storage with the version; None if it is not stored.

    Not stored are text with a secret in a comment (values were checked at compilation), text with
    characters that a terminal cannot show, and files that refer to SQL files, because these change
    independently.
    """
    text = dag.source_map.text
    is_storable = printable(text) == text and not _has_secret_in_comments(text)
    return text if text and is_storable else None


def _has_secret_in_comments(text: str) -> bool:
    comments = _COMMENT.findall(text)
    named = [{name: value} for each in comments for name, value in _ASSIGNMENT.findall(each)]
    return any(True for _ in literal_secrets([comments, named]))


def version_file(content: CompiledDag, text: str | None) -> str:
    """Return a DAG file whose deploy gives the version with this content.

    Raises InvalidInput for a version without a file, and for one with a literal secret, deployed by
    code that did not reject it.
    """
    if not content.file:
        raise InvalidInput(
            f"this version of DAG {content.name!r} was registered from discovered datasets, "
            "and has no file"
        )
    dag = msgspec.json.decode(content.file)
    if any(_has_secret(job) for job in dag["jobs"]):
        raise InvalidInput(
            f"the file of this version of DAG {content.name!r} contains a secret, and is not "
            "printed: 'knockon doctor' names the job"
        )
    if text is not None:
        return text
    for job in dag["jobs"]:
        job.pop("code", None)  # hashes filled in by the deploy
    return write_yaml(dag)


def _has_secret(job: dict[str, Any]) -> bool:
    checked = {key: job.get(key) for key in ("description", "source", "config")}
    outputs = [{"storage": output.get("storage")} for output in job["outputs"]]
    return any(True for _ in literal_secrets([checked, outputs]))
