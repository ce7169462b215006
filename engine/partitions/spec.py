"""Partition spaces as plain JSON data, the way a DAG file and `datasets` hold them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

from engine.errors import InvalidPartition
from engine.partitions.dimension import Dimension
from engine.partitions.key_dimension import DynamicDimension, StaticDimension
from engine.partitions.range_dimension import RangeDimension
from engine.partitions.time_dimension import TimeDimension

Spec = Mapping[str, Any]


def read_dimension(name: str, spec: Any) -> Dimension:
    """A dimension from `{"time": "day", ...}` and the like.

    Raises:
        InvalidPartition: it names no kind or several, or has an unknown or ill-typed field.
    """
    kinds = [kind for kind in _READERS if isinstance(spec, Mapping) and kind in spec]
    if len(kinds) != 1:
        raise InvalidPartition(
            f"dimension {name!r}: {spec!r} must have exactly one of {', '.join(_READERS)}; "
            'write one like {"time": "day"}'
        )
    read, fields = _READERS[kinds[0]]
    _check_fields(name, spec, {kinds[0]: fields[0], "column": str} | fields[1])
    try:
        return read(spec)
    except InvalidPartition as error:
        raise InvalidPartition(f"dimension {name!r}: {error}") from error


def write_dimension(dimension: Dimension) -> dict[str, Any]:
    """The spec of a dimension, without what is left at its default."""
    spec = {**dimension.to_spec(), "column": dimension.column}
    return {field: value for field, value in spec.items() if value is not None}


def _check_fields(name: str, spec: Spec, types: Mapping[str, type]) -> None:
    for field, value in spec.items():
        wanted = types.get(field)
        if wanted is None:
            raise InvalidPartition(
                f"dimension {name!r}: unknown field {field!r}; it may have {', '.join(types)}"
            )
        if value is not None and type(value) is not wanted:
            raise InvalidPartition(
                f"dimension {name!r}: {field} is {value!r}; give a {wanted.__name__}"
            )


def _time(spec: Spec) -> Dimension:
    zone = spec.get("zone") or "UTC"
    return TimeDimension(spec["time"], zone, spec.get("start"), spec.get("end"), spec.get("column"))


def _range(spec: Spec) -> Dimension:
    return RangeDimension(spec["range"], spec.get("start"), spec.get("end"), spec.get("column"))


def _static(spec: Spec) -> Dimension:
    return StaticDimension(tuple(map(str, spec["static"])), spec.get("column"))


def _dynamic(spec: Spec) -> Dimension:
    if spec["dynamic"] is not True:
        raise InvalidPartition("dynamic must be true; leave the dimension out otherwise")
    return DynamicDimension(spec.get("column"))


_Reader = tuple[Callable[[Spec], Dimension], tuple[type, dict[str, type]]]

_READERS: MappingProxyType[str, _Reader] = MappingProxyType(
    {
        "time": (_time, (str, {"zone": str, "start": str, "end": str})),
        "range": (_range, (int, {"start": int, "end": int})),
        "static": (_static, (list, {})),
        "dynamic": (_dynamic, (bool, {})),
    }
)
