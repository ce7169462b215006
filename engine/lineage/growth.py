"""Sources with partition spaces extended by a new DAG version."""

from collections.abc import Mapping

from engine.lineage.catalog import space_of
from engine.lineage.compiled import CompiledDag
from engine.partitions import PartitionSpace

_MOST_TEXTS = 10


def grown_sources(previous: CompiledDag | None, new: CompiledDag) -> Mapping[str, tuple[str, ...]]:
    """Return the newly possible partitions of each source, as a few key or range texts.

    No event has named these partitions, even for rows that already exist in them. A source with a
    different kind of partitioning counts as a new source and is left out.
    """
    before = {source.name: source for source in previous.sources} if previous else {}
    pairs = ((before[source.name], source) for source in new.sources if source.name in before)
    grown = {
        now.name: _grown(space_of(was.partitioning), space_of(now.partitioning))
        for was, now in pairs
    }
    return {name: texts for name, texts in grown.items() if texts}


def _grown(before: PartitionSpace, now: PartitionSpace) -> tuple[str, ...]:
    if before == now or not now.is_alike(before):
        return ()
    reached = now.universe - now.part_of(before.universe)
    return tuple(now.first_texts(reached, _MOST_TEXTS))
