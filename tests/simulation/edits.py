"""Random edits of the rows of sources."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from random import Random
from typing import Any

from tests.simulation.dimensions import Dimension, Key, universe
from tests.simulation.rows import Rows
from tests.simulation.state import SimulationState
from tests.simulation.world import GROUP, Columns, Job, Values


@dataclass
class Edit:
    """An edit of a source: partitions, columns (None: rows inserted or deleted) and groups."""

    verb: str
    keys: Sequence[Key]
    row: int
    groups: Values
    columns: Columns = None


class SourceEdits:
    """Edits of sources; the touched column and the ids of inserted rows are kept."""

    def __init__(self, state: SimulationState) -> None:
        self.state = state
        self._touched: str | None = None
        self._ids: defaultdict[str, int] = defaultdict(int)

    def edit(self, rng: Random, job: Job) -> Edit:
        """Insert, change, move or delete a row of a source."""
        data = self.data(job)
        filled = sorted(key for key, rows in data.items() if rows)
        key = rng.choice(filled) if filled and rng.random() < 0.75 else rng.choice(core(job))
        rows = data.setdefault(key, {})
        verbs = ["insert", "insert"]
        if rows:
            verbs += ["update"] * 8
            if not job.grows:
                verbs += ["delete", "move"] + ["regroup"] * (GROUP in job.outputs[0].columns)
        return self._edits_by_verb()[rng.choice(verbs)](rng, job, key, rows)

    def data(self, job: Job) -> dict[Key, Rows]:
        return self.state.sources[job.outputs[0].name]

    def _edits_by_verb(self) -> dict[str, Callable[[Random, Job, Key, Rows], Edit]]:
        return {
            "insert": self.insert,
            "update": self.update,
            "delete": self._delete,
            "move": self._move,
            "regroup": self._regroup,
        }

    def touch_value(self, rng: Random, job: Job, key: Key, rows: Rows) -> Edit:
        n = rng.choice(sorted(rows))
        # A deploy that crashed may have dropped a column of the deployed file from the rows.
        columns = [c for c in job.outputs[0].columns if c != GROUP and c in rows[n]]
        column = rng.choice([c for c in columns if c != self._touched] * 4 + columns)
        self._touched = column
        rows[n][column] = (rows[n][column] + rng.randint(1, 3)) % 4
        return Edit("update", [key], n, _groups(rows[n]), frozenset({column}))

    def insert(self, rng: Random, job: Job, key: Key, rows: Rows) -> Edit:
        self._ids[job.name] += 1
        new = self._ids[job.name]
        rows[new] = {column: _value(rng, job, column) for column in job.outputs[0].columns}
        return Edit("insert", [key], new, _groups(rows[new]))

    def update(self, rng: Random, job: Job, key: Key, rows: Rows, max_columns: int = 2) -> Edit:
        n = rng.choice(sorted(rows))
        plain = [column for column in job.outputs[0].columns if column != GROUP]
        touched = rng.sample(plain, rng.choice([1, 1, max_columns]))
        rows[n].update({column: _value(rng, job, column) for column in touched})
        return Edit("update", [key], n, _groups(rows[n]), frozenset(touched))

    def _delete(self, rng: Random, job: Job, key: Key, rows: Rows) -> Edit:
        n = rng.choice(sorted(rows))
        return Edit("delete", [key], n, _groups(rows.pop(n)))

    def _move(self, rng: Random, job: Job, key: Key, rows: Rows) -> Edit:
        n, to = rng.choice(sorted(rows)), rng.choice(core(job))
        row = rows.pop(n)
        self.data(job).setdefault(to, {})[n] = row
        return Edit("move", [key, to], n, _groups(row))

    def _regroup(self, rng: Random, job: Job, key: Key, rows: Rows) -> Edit:
        n = rng.choice(sorted(rows))
        before = rows[n][GROUP]
        rows[n][GROUP] = _value(rng, job, GROUP)
        return Edit("regroup", [key], n, frozenset({before, rows[n][GROUP]}), frozenset({GROUP}))

    def replace_rows(self, rng: Random, job: Job) -> None:
        """Change the values of all rows, as if read from another table.

        In growing sources, rows keep their groups.
        """
        kept = {GROUP} if job.grows else set()
        others = [column for column in job.outputs[0].columns if column not in kept]
        for rows in self.data(job).values():
            for row in rows.values():
                row.update({column: _value(rng, job, column) for column in others})

    def alter_rows(self, job: Job, columns: set[str]) -> None:
        """Add the job's columns to all rows, and drop columns removed from the job."""
        for rows in self.data(job).values():
            for row in rows.values():
                for column in columns:
                    row.pop(column, None)
                    if column in job.outputs[0].columns:
                        row[column] = 0


def core(job: Job) -> list[Key]:
    """Return the partitions in use; for unbounded dimensions, some in the middle."""
    return sorted(universe(tuple(_middle(d) for d in job.space)))


def _middle(d: Dimension) -> Dimension:
    if d.is_finite or not d.is_ordered:
        return d
    lo = d.bounds[0] if d.bounds[0] is not None else len(d.grid) // 2 - 2
    return replace(d, bounds=(lo, lo + 4))


def _value(rng: Random, job: Job, column: str) -> Any:
    return rng.choice(job.alphabet) if column == GROUP else rng.randrange(4)


def _groups(row: dict[str, Any]) -> Values:
    return frozenset({row[GROUP]}) if GROUP in row else None
