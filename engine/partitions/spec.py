"""Partition spaces as JSON data, as stored in DAG files and `datasets`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

from engine.errors import InvalidPartition
from engine.partitions.dimension import Dimension
from engine.partitions.grains import WEEKDAYS, cron_grain, plain_grain, start_in_step, step_grain
from engine.partitions.key_dimension import DynamicDimension, StaticDimension
from engine.partitions.range_dimension import RangeDimension
from engine.partitions.time_dimension import TimeDimension

Spec = Mapping[str, Any]


def read_dimension(name: str, spec: Any) -> Dimension:
    """Read a dimension such as `{"time": "day", ...}`.

    Raises:
        InvalidPartition: the spec has no kind or several, or an unknown or ill-typed field.
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
    """Return the spec of a dimension, without default values."""
    spec = {**dimension.to_spec(), "column": dimension.column}
    return {field: value for field, value in spec.items() if value is not None}


def _check_fields(name: str, spec: Spec, types: Mapping[str, type]) -> None:
    for field, value in spec.items():
        expected = types.get(field)
        if expected is None:
            raise InvalidPartition(
                f"dimension {name!r}: unknown field {field!r}; use one of {', '.join(types)}"
            )
        if value is not None and type(value) is not expected:
            raise InvalidPartition(
                f"dimension {name!r}: {field} is {value!r}; set a value of type {expected.__name__}"
            )


def _time(spec: Spec) -> Dimension:
    return _windows(plain_grain(spec["time"]), spec)


def _every(spec: Spec) -> Dimension:
    return _windows(step_grain(spec["every"]), spec)


def _cron(spec: Spec) -> Dimension:
    return _windows(cron_grain(spec["cron"]), spec)


def _windows(grain: str, spec: Spec) -> Dimension:
    starts_on = spec.get("starts_on")
    return TimeDimension(
        grain,
        spec.get("zone") or "UTC",
        spec.get("start"),
        spec.get("end"),
        spec.get("column"),
        starts_on=None if starts_on == WEEKDAYS[0] else starts_on,
        starts_at=start_in_step(grain, spec.get("starts_at")),
    )


def _range(spec: Spec) -> Dimension:
    return RangeDimension(spec["range"], spec.get("start"), spec.get("end"), spec.get("column"))


def _static(spec: Spec) -> Dimension:
    return StaticDimension(tuple(map(str, spec["static"])), spec.get("column"))


def _dynamic(spec: Spec) -> Dimension:
    if spec["dynamic"] is not True:
        raise InvalidPartition("dynamic must be true; otherwise omit the dimension")
    return DynamicDimension(spec.get("column"))


_Reader = tuple[Callable[[Spec], Dimension], tuple[type, dict[str, type]]]

_BOUNDS: dict[str, type] = {"zone": str, "start": str, "end": str}

_READERS: MappingProxyType[str, _Reader] = MappingProxyType(
    {
        "time": (_time, (str, {"starts_on": str, "starts_at": str} | _BOUNDS)),
        "every": (_every, (str, {"starts_at": str} | _BOUNDS)),
        "cron": (_cron, (str, _BOUNDS)),
        "range": (_range, (int, {"start": int, "end": int})),
        "static": (_static, (list, {})),
        "dynamic": (_dynamic, (bool, {})),
    }
)
