"""Results of health checks."""

from collections.abc import AsyncIterator, Sequence
from enum import StrEnum

import msgspec


class CheckVerdict(StrEnum):
    """Verdict of a check: a warning needs attention, a failure prevents work."""

    OK = "ok"
    WARN = "warn"
    FAIL = "fail"


class Check(msgspec.Struct, frozen=True):
    """The result of a check, with a ``remedy`` unless the verdict is ok.

    ``statements`` are SQL to be executed as part of the remedy.
    """

    name: str
    verdict: CheckVerdict
    detail: str
    remedy: str = ""
    statements: Sequence[str] = ()


Checks = AsyncIterator[Check]


def judge(
    name: str, well: bool, detail: str, remedy: str, otherwise: CheckVerdict = CheckVerdict.WARN
) -> Check:
    """Return ok if ``well``, else the verdict ``otherwise`` with the remedy."""
    verdict = CheckVerdict.OK if well else otherwise
    return Check(name, verdict, detail, "" if well else remedy)
