"""Results of health checks."""

from collections.abc import AsyncIterator
from typing import Literal

import msgspec

Verdict = Literal["ok", "warn", "fail"]


class Check(msgspec.Struct, frozen=True):
    """The result of a check, with a ``remedy`` unless the verdict is ok."""

    name: str
    verdict: Verdict
    detail: str
    remedy: str = ""


Checks = AsyncIterator[Check]


def judge(name: str, well: bool, detail: str, remedy: str, otherwise: Verdict = "warn") -> Check:
    """Return ok if ``well``, else the verdict ``otherwise`` with the remedy."""
    return Check(name, "ok", detail) if well else Check(name, otherwise, detail, remedy)
