"""Keyset pagination: a page of a list continues before the id of the last row read.

The bounds above all ids list from the newest row; a bound in every statement lets indexes serve.
"""

from typing import Final
from uuid import UUID

NEWEST: Final = UUID(int=2**128 - 1)
NEWEST_NUMBER: Final = 2**63 - 1
