"""Check that tables are captured by the deployed partitions, which a deploy may have changed."""

import shlex
from collections.abc import Iterable
from itertools import starmap
from typing import Any

import msgspec
from psycopg import AsyncConnection

from consumers.postgres.attachments import Stored, stored_attachments
from engine.lineage.graph import Lineage
from engine.lineage.growth import added
from engine.partitions import PartitionSpace
from engine.service.checks.check import Check, judge
from engine.wording import some


async def check_captured_partitions(
    source: AsyncConnection[Any], org: str, lineage: Lineage
) -> Check:
    """Compare the partitions in the triggers of tables with those of the deployed datasets.

    Raises psycopg's errors.
    """
    others = [
        (row, space)
        for row in await stored_attachments(source, org)
        if lineage.has_dataset_named(row.dataset)
        and (space := lineage.space(lineage.dataset_named(row.dataset).id)) != row.space
    ]
    return judge(
        "captured keys",
        not others,
        _difference(row for row, _ in others)
        if others
        else "the triggers of tables use the deployed partitions",
        "; ".join(starmap(_remedy, others)),
    )


def _difference(others: Iterable[Stored]) -> str:
    names = some(f"{row.table} ({row.dataset})" for row in others)
    return (
        f"the triggers of {names} use the partitions of an earlier deploy: a changed row outside "
        "them counts as a change of the whole dataset"
    )


def _remedy(row: Stored, deployed: PartitionSpace) -> str:
    """Return the command that attaches a table again; other keys need all rows announced."""
    options = [f"{name}={column}" for name, column in msgspec.json.decode(row.columns).items()]
    words = ["knockon", "attach", row.table, "--dataset", row.dataset]
    words += [word for option in options for word in ("--partition", option)]
    if not row.space.is_alike(deployed):
        return f"attach again: {shlex.join(words)}"
    attach = f"attach again: {shlex.join([*words, '--no-announce'])}"
    new = deployed.first_texts(added(row.space, deployed), 1)
    if not new:
        return attach
    invalidate = shlex.join(["knockon", "invalidate", row.dataset, "-p", new[0]])
    return f"{attach}, and if rows of new partitions exist already: {invalidate}"
