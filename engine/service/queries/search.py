"""Search for datasets, jobs, columns and DAGs by name, and for work by id.

Names are those of the current versions, searched in the cached lineage of the org.
"""

from collections.abc import Iterable, Iterator, Sequence
from enum import StrEnum
from heapq import merge
from itertools import islice
from typing import Final
from uuid import UUID

import msgspec

from engine.errors import InvalidInput
from engine.flow.shared.org_context import OrgContext
from engine.lineage.graph import Lineage
from engine.model.states import Role
from engine.service.caller import Caller, requires
from engine.service.name_index import Match
from engine.service.queries.search_ids import (
    PartOfId,
    find_invalidations,
    find_plans,
    find_tasks,
)
from engine.service.searched_names import SearchedNames
from engine.service.service import Service
from engine.service.visibility import Visibility
from engine.store.database import Connection
from engine.store.rows.search import FoundId

LONGEST_SEARCH: Final = 200
MOST_FOUND: Final = 100


class SearchKind(StrEnum):
    """What to search for."""

    DATASET = "dataset"
    JOB = "job"
    COLUMN = "column"
    DAG = "dag"
    TASK = "task"
    PLAN = "plan"
    INVALIDATION = "invalidation"


_BY_ID = {
    SearchKind.TASK: find_tasks,
    SearchKind.PLAN: find_plans,
    SearchKind.INVALIDATION: find_invalidations,
}


class Found(msgspec.Struct, frozen=True):
    """One result; ``match`` is the part of the name or id that equals the searched text.

    ``name`` is that of the dataset, job, column or DAG; of a task the name of the job, of an
    invalidation that of the dataset. ``dataset`` is the dataset of a column, ``id`` that of a task,
    plan or invalidation.
    """

    kind: SearchKind
    match: Match
    name: str | None = None
    dag: str | None = None
    dataset: str | None = None
    id: UUID | None = None


class SearchResult(msgspec.Struct, frozen=True):
    """The best results; with ``more``, there are others."""

    items: tuple[Found, ...]
    more: bool


@requires(Role.READER)
async def search(
    caller: Caller,
    service: Service,
    text: str,
    kinds: Sequence[SearchKind] = (),
    limit: int = 20,
) -> SearchResult:
    """Return the best matches of a text, up to ``limit``; without ``kinds``, of every kind.

    Equal names come first, then names that begin with the text, have a word that does, or contain
    it. Work is found by its id, or the first or last digits of it, at least eight. Raises
    InvalidInput.
    """
    wanted = text.strip()
    if not wanted or len(wanted) > LONGEST_SEARCH:
        raise InvalidInput(f"a text to search for has 1 to {LONGEST_SEARCH} characters")
    if not 1 <= limit <= MOST_FOUND:
        raise InvalidInput(f"the limit is {limit}: give a number from 1 to {MOST_FOUND}")
    chosen = frozenset(kinds or SearchKind)
    async with service.snapshot(caller) as (conn, org):
        lineage = await org.lineage(conn)
        visible = await service.visibility(caller, conn, org)
        work = await _find_work(conn, org, visible, chosen, wanted, limit + 1)
    names = await service.searched_names(org.id, lineage)
    lists = (work, *_searches(names, lineage, visible, chosen, wanted))
    best = tuple(islice(_distinct(merge(*lists, key=_rank)), limit + 1))
    return SearchResult(best[:limit], more=len(best) > limit)


async def _find_work(
    conn: Connection,
    org: OrgContext,
    visible: Visibility,
    kinds: frozenset[SearchKind],
    text: str,
    limit: int,
) -> list[Found]:
    """Return tasks, plans and invalidations by id, in the order of their ranks."""
    part, work = PartOfId.of(text), list[Found]()
    if part is not None:
        for kind in kinds & _BY_ID.keys():
            rows = await _BY_ID[kind](conn, org, visible, part, limit)
            work += (_found(kind, part, row) for row in rows)
    return sorted(work, key=_rank)


def _found(kind: SearchKind, part: PartOfId, row: FoundId) -> Found:
    return Found(kind, part.match(row.id), row.name, row.dag, id=row.id)


def _rank(found: Found) -> int:
    return found.match.rank


def _distinct(found: Iterable[Found]) -> Iterator[Found]:
    """Leave out what was found before by a better match of another of its names."""
    seen = set()
    for each in found:
        key = each.kind, each.name, each.dag, each.dataset, each.id
        if key not in seen:
            seen.add(key)
            yield each


def _searches(
    names: SearchedNames,
    lineage: Lineage,
    visible: Visibility,
    kinds: frozenset[SearchKind],
    text: str,
) -> Iterator[Iterator[Found]]:
    """Return the results by kind, each lazily, in the order of their ranks."""
    if SearchKind.DATASET in kinds:
        yield (
            Found(SearchKind.DATASET, match, name, lineage.producer(dataset.id).dag_name)
            for match, name, dataset in names.datasets.find(text)
            if visible.sees(dataset.id)
        )
    if SearchKind.JOB in kinds:
        yield (
            Found(SearchKind.JOB, match, job.name, job.dag_name)
            for match, _, job in names.jobs.find(text)
            if visible.sees_job(job)
        )
    if SearchKind.DAG in kinds:
        yield (
            Found(SearchKind.DAG, match, name, name)
            for match, name, _ in names.dags.find(text)
            if name not in visible.dags
        )
    if SearchKind.COLUMN in kinds:
        yield (
            Found(SearchKind.COLUMN, match, name, dataset=dataset.name)
            for match, name, dataset in names.columns.find(text)
            if visible.sees(dataset.id)
        )
