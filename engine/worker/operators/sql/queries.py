"""Read the SELECTs of a job's config."""

import re

from engine.errors import InvalidInput
from engine.model.task import Lease

_END = re.compile(r"""[;\s](?:[;\s]|--[^\n'"$*;]*(?:\n|\Z))*\Z""")
"""Semicolons, blanks and comments after the statement; a quote might belong to the statement."""


def queries_of(lease: Lease) -> dict[str, str]:
    """Return the SELECT of each output, by the dataset's name. Raises InvalidInput."""
    job = lease.job
    selects = job.config.get("sql")
    outputs = [output.name for output in lease.outputs]
    if isinstance(selects, str) and len(outputs) == 1:
        selects = {outputs[0]: selects}
    if not isinstance(selects, dict) or selects.keys() != set(outputs):
        raise InvalidInput(
            f"job {job.name!r}: config.sql must be a SELECT, or with several outputs a mapping "
            f"with a SELECT for each of {', '.join(outputs)}"
        )
    return {name: _statement(job.name, text) for name, text in selects.items()}


def _statement(job: str, text: object) -> str:
    if not isinstance(text, str) or "\0" in text or not text.strip():
        raise InvalidInput(f"job {job!r}: config.sql contains {text!r}: write a SELECT")
    return _END.sub("", text + "\n")
