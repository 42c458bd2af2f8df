"""Rebuilds dataclasses from JSON, strictly: no unknown key, no missing key, no wrong type."""

from __future__ import annotations

import collections.abc
import dataclasses
import json
import types
import typing
from collections.abc import Collection, Mapping
from typing import Any

from pytransformer.errors import CheckpointError
from pytransformer.model_spec import LATER

_MOST = 2**31


def read_object(text: str) -> dict[str, Any]:
    """Parses a JSON object; raises CheckpointError, also for NaN and infinities."""
    try:
        value = json.loads(text, parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        raise CheckpointError(f"broken configuration: {error}") from None
    if not isinstance(value, dict):
        raise CheckpointError("broken configuration: not a JSON object")
    return value


def read_fields(
    fields: Mapping[str, Any], value: Any, where: str, optional: Collection[str] = ()
) -> dict[str, Any]:
    """Reads an object that has exactly these keys, those in `optional` or not; types by key.

    Types are dataclasses and what their fields are made of: int (of 32 bits), float, str, bool,
    None, Literal, unions, tuples of one type, maps of str and Any. `where` names the object in
    errors.
    """
    if not isinstance(value, dict):
        raise CheckpointError(f"{where} should be an object")
    faults = [f"lacks {key}" for key in fields if key not in value and key not in optional]
    faults += [f"has an unknown key {key}" for key in value if key not in fields]
    if faults:
        raise CheckpointError(f"{where} {', '.join(sorted(faults))}")
    return {
        key: _read(kind, value[key], f"{where}.{key}")
        for key, kind in fields.items()
        if key in value
    }


def _read(kind: Any, value: Any, where: str) -> Any:
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if dataclasses.is_dataclass(kind):
        assert isinstance(kind, type)
        return kind(**read_fields(typing.get_type_hints(kind), value, where, _optional(kind)))
    if origin in (typing.Union, types.UnionType):
        return _read_union(arguments, value, where)
    if origin is typing.Literal:
        if any(type(value) is type(option) and value == option for option in arguments):
            return value
    elif origin is tuple:
        if isinstance(value, list):
            return tuple(_read(arguments[0], item, where) for item in value)
    elif origin is collections.abc.Mapping:
        if isinstance(value, dict):
            inner = arguments[1]
            items = value.items()
            return {key: _read(inner, item, f"{where}.{key}") for key, item in items}
    elif kind is Any:
        return value
    elif kind is float and type(value) is int:
        return _as_float(value, where)
    elif kind is int and type(value) is int and not -_MOST <= value < _MOST:
        raise CheckpointError(f"{where} should be a number of at most 31 bits")
    elif type(value) is kind:
        return value
    raise CheckpointError(
        f"{where} should be {getattr(kind, '__name__', kind)}, not {str(value)[:80]!r}"
    )


def _as_float(value: int, where: str) -> float:
    try:
        return float(value)
    except OverflowError:
        raise CheckpointError(f"{where} is too large") from None


def _optional(kind: type[Any]) -> set[str]:
    return {field.name for field in dataclasses.fields(kind) if field.metadata == LATER}


def _read_union(options: tuple[Any, ...], value: Any, where: str) -> Any:
    for option in options:
        try:
            return _read(option, value, where)
        except CheckpointError:
            continue
    raise CheckpointError(f"{where} has the wrong type: {str(value)[:80]!r}")


def _refuse_constant(name: str) -> float:
    raise ValueError(f"{name} is not a number")
