"""Partitions, sets of them as values, and the mappings between the partitions of two datasets."""

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
