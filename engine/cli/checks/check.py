"""One thing that was looked at, and what came of it."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Literal

Verdict = Literal["ok", "warn", "fail"]


@dataclass(frozen=True, slots=True)
class Check:
    """``remedy`` says what to do where it is not well."""

    name: str
    verdict: Verdict
    detail: str
    remedy: str = ""


Checks = AsyncIterator[Check]


def judge(name: str, well: bool, detail: str, remedy: str, otherwise: Verdict = "warn") -> Check:
    """Ok where it is ``well``, else as bad as ``otherwise``."""
    return Check(name, "ok", detail) if well else Check(name, otherwise, detail, remedy)
