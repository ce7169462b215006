"""Partitions, sets of partitions, and mappings between the partitions of two datasets.

From small to large: a `dimension_set` of one dimension's keys is an `intervals` for time and range,
or a `keyset` for static and dynamic ones. A `dimension` defines keys: `range_dimension`,
`key_dimension` and `time_dimension`, with a `calendar` for each grid (`grains`, `day_calendar`,
`step_calendar` and `cron_calendar`, based on the `clock` of a zone and `civil` dates). `boxes` are
products of sets, and `sets` of partitions are unions of boxes. A `space` is the partitioning of a
dataset, read from a `spec`, with keys written as `text` and a `listing` of finite sets. A `mapping`
relates spaces.

An ordinal is a key's integer on the grid of time or range. Sets of ordinals consist of half-open
intervals and may be unbounded; a dimension's universe is the set of all possible keys.
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
