"""Sources whose bounds or key lists reach further than before."""

from collections.abc import Mapping

import msgspec

from engine.lineage.compiled import CompiledDag, CompiledDataset
from engine.partitions import PartitionSpace

_MOST_TEXTS = 10


def grown_sources(previous: CompiledDag | None, new: CompiledDag) -> Mapping[str, tuple[str, ...]]:
    """By source, the partitions that it can have now and could not have before, as few texts.

    Rows that were there already have been reported by no event that names these partitions. A
    source that is cut otherwise is another one, and is left out.
    """
    before = {each.name: each for each in previous.sources} if previous else {}
    pairs = ((before[each.name], each) for each in new.sources if each.name in before)
    grown = {now.name: _grown(_space(was), _space(now)) for was, now in pairs}
    return {name: texts for name, texts in grown.items() if texts}


def _grown(before: PartitionSpace, now: PartitionSpace) -> tuple[str, ...]:
    if before == now or not now.is_alike(before):
        return ()
    reached = now.universe - now.part_of(before.universe)
    return tuple(now.first_texts(reached, _MOST_TEXTS))


def _space(dataset: CompiledDataset) -> PartitionSpace:
    return PartitionSpace.from_spec(msgspec.json.decode(dataset.partitioning))
