"""Partitions, sets of them as values, and the mappings between the partitions of two datasets.

From small to large: sets of one dimension's keys are `intervals` for time and range, a `keyset` for
static and dynamic (both are a `dimension_set`). A `dimension` knows its keys: `range_dimension`,
`key_dimension` and `time_dimension`, which asks the `calendar` of its grain (`grains`,
`day_calendar`, `hour_calendar`, over the `clock` of a zone and `civil` dates). Products of sets are
`boxes`, and `sets` of partitions are unions of those. A `space` is how a dataset is partitioned:
it reads its dimensions by `spec`, keys as `text`, and makes a `listing` of a set. `mapping` goes
from one space to another.

An ordinal is a key's integer on the grid of time or range. Sets of these are half-open and may lack
an end; a dimension's universe is the set of all keys that it can have.
"""

from engine.partitions.dimension import Dimension, DimensionValue
from engine.partitions.intervals import Intervals
from engine.partitions.key_dimension import DynamicDimension, StaticDimension
from engine.partitions.keyset import KeySet
from engine.partitions.mapping import Mapping, infer
from engine.partitions.range_dimension import RangeDimension
from engine.partitions.sets import PartitionSet
from engine.partitions.space import PartitionSpace
from engine.partitions.time_dimension import TimeDimension

__all__ = [
    "Dimension",
    "DimensionValue",
    "DynamicDimension",
    "Intervals",
    "KeySet",
    "Mapping",
    "PartitionSet",
    "PartitionSpace",
    "RangeDimension",
    "StaticDimension",
    "TimeDimension",
    "infer",
]
